package infratest

import (
	"path/filepath"
	"strings"
	"testing"
)

// What a person reads when an input is wrong: the plan stops, and the sentence says what to change.
func TestBadInputIsRefusedWithASentence(t *testing.T) {
	t.Parallel()
	w := &workspace{command: needTerraform(t), dir: filepath.Join(t.TempDir(), "inputs")}
	if err := copyTree(filepath.Join(infra, "tests", "inputs"), w.dir); err != nil {
		t.Fatal(err)
	}
	w.must(t, "init", "-no-color", "-input=false")
	good := []string{
		"-var=environment_suffix=prod-abc123", "-var=container_image=payd@sha256:" + strings.Repeat("1", 64),
		`-var=warden={image="holdfast@sha256:` + strings.Repeat("2", 64) + `"}`, "-var=domain_name=payments.acme.test",
		"-var=hosted_zone_id=Z2FDTNDATAQYW2", `-var=service={acquirer_url="https://acquirer.acme.test"}`,
	}
	if out, err := w.plan(t, good...); err != nil {
		t.Fatalf("good input is refused: %s", out)
	}
	example, err := filepath.Abs(filepath.Join(infra, "terraform.tfvars.example"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := w.plan(t, "-var-file="+example); err != nil {
		t.Fatalf("the example is refused: %s", out)
	}
	for name, c := range map[string]struct{ input, says string }{
		"overlapping CIDRs":       {`sites={dr={vpc_cidr="10.0.128.0/17"}}`, "Give dr another vpc_cidr, as in 10.1.0.0/16"},
		"an unknown region pair":  {`sites={dr={region="eu-west-1"}}`, "must come from one set that DynamoDB keeps strongly consistent: us-east-1, us-east-2, us-west-2"},
		"a mutable image tag":     {"container_image=payd:v2.0.0", "container_image must name its digest"},
		"two zones":               {`sites={primary={availability_zones=["us-east-1a","us-east-1b"]}}`, "availability_zones must be three to six different zones of the site's own region"},
		"an engine not global":    {"engine_version=13.9", "Use 14.3, 15.2, 16.1, 17.4, 18.3 or newer of one of these"},
		"plain HTTP":              {`tls={mode="none"}`, `Use "acm" or "provided"`},
		"a zone that is not ours": {"domain_name=payment-dr.example.com", "Route 53 makes no zones under example.com: give domain_name, or set throw_away"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := w.plan(t, append(good[:len(good):len(good)], "-var="+c.input)...)
			if err == nil {
				t.Fatal("the plan went through")
			}
			if !strings.Contains(out, c.says) {
				t.Errorf("want %q in\n%s", c.says, out)
			}
		})
	}
}

// plan returns what Terraform prints, with its line breaks undone.
func (w *workspace) plan(t *testing.T, vars ...string) (string, error) {
	t.Helper()
	out, err := w.terraform(t.Context(), append([]string{"plan", "-no-color", "-input=false"}, vars...)...)
	return strings.Join(strings.Fields(strings.NewReplacer("│", "", "╷", "", "╵", "").Replace(out)), " "), err
}
