package operator

import (
	"fmt"
	"io"

	"holdfast/internal/failover"
)

// Plan is what a command did, or, in a dry run, would do.
type Plan struct {
	Command string `json:"command"`
	DryRun  bool   `json:"dry_run"`
	// Saw is what was found out first.
	Saw []string `json:"saw,omitempty"`
	// Steps are in order. In a dry run none was taken.
	Steps []PlanStep `json:"steps"`
}

// PlanStep is one step of a [Plan].
type PlanStep struct {
	// By is the site that it happens at, or "operator".
	By   string `json:"by"`
	Step string `json:"step"`
	Why  string `json:"why"`
	// Refusals are the gates that would be shut at this point.
	Refusals []failover.Refusal `json:"refusals,omitempty"`
}

// planner runs a command's steps, or in a dry run only notes them: the same code either way.
type planner struct {
	Plan
	progress func(string)
}

func newPlan(command string, dryRun bool, progress func(string)) *planner {
	if progress == nil {
		progress = func(string) {}
	}
	return &planner{Plan: Plan{Command: command, DryRun: dryRun, Steps: []PlanStep{}}, progress: progress}
}

func (p *planner) saw(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.Saw = append(p.Saw, text)
	p.progress(text)
}

// do takes a step unless this is a dry run.
func (p *planner) do(by, step, why string, act func() error) error {
	p.Steps = append(p.Steps, PlanStep{By: by, Step: step, Why: why})
	if p.DryRun {
		return nil
	}
	p.progress(by + ": " + step)
	if err := act(); err != nil {
		return fmt.Errorf("%s: %s: %w", by, step, err)
	}
	return nil
}

// WriteText writes the plan for people.
func (p Plan) WriteText(out io.Writer) error {
	for _, text := range p.Saw {
		if _, err := fmt.Fprintf(out, "  saw   %s\n", text); err != nil {
			return err
		}
	}
	for i, s := range p.Steps {
		if _, err := fmt.Fprintf(out, "  %2d.   %-9s %s (%s)\n", i+1, s.By, s.Step, s.Why); err != nil {
			return err
		}
		for _, r := range s.Refusals {
			if _, err := fmt.Fprintf(out, "        %-9s gate %s is shut: %s, want %s; %s\n", "", r.Gate, r.Current, r.Wanted, r.Remedy); err != nil {
				return err
			}
		}
	}
	return nil
}
