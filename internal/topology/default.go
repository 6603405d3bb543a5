package topology

import (
	_ "embed"
	"fmt"
)

// defaultState is the state of the project's own Terraform, rendered without AWS by "make topology".
//
//go:embed default.json
var defaultState []byte

// DefaultState returns a copy of the embedded state, for those who want to start from it.
func DefaultState() []byte { return append([]byte(nil), defaultState...) }

// Default returns the topology of the project's own Terraform with its default variables. It needs no Terraform.
// The error is nil in every build whose tests passed.
func Default() (Topology, error) {
	t, err := Parse(defaultState)
	if err != nil {
		return Topology{}, fmt.Errorf("the embedded default topology: %w", err)
	}
	return t, nil
}
