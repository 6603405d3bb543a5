package preflight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

func (p *preflight) checkTerraform(ctx context.Context) []Finding {
	s := subject("the Terraform configuration")
	changes, summary, err := p.src.Terraform.Plan(ctx)
	if err != nil {
		return []Finding{s.unknown("plan", err, "no changes", "see that the folder is initialized and that its provider may read the account")}
	}
	return []Finding{s.want(!changes, "plan", summary, "no changes",
		"read the plan: what was changed by hand would be undone by the next apply, or is missing already")}
}

// TerraformFolder plans in a folder with the terraform of the PATH. It takes no lock and writes no plan.
type TerraformFolder string

// planLines is how much of a plan's end is shown.
const planLines = 4

// Plan implements [Terraform].
func (dir TerraformFolder) Plan(ctx context.Context) (changes bool, summary string, err error) {
	cmd := exec.CommandContext(ctx, "terraform", "-chdir="+string(dir), "plan", "-detailed-exitcode", "-input=false", "-lock=false", "-no-color")
	cmd.WaitDelay = 10 * time.Second
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false, "no changes", nil
	case errors.As(err, &exit) && exit.ExitCode() == 2: // documented: 2 is a plan with changes
		return true, summaryOf(out.String()), nil
	case errors.As(err, &exit):
		return false, "", fmt.Errorf("terraform plan in %s: %w: %s", string(dir), err, errorsOf(complaint.String()))
	}
	return false, "", fmt.Errorf("run terraform in %s: %w", string(dir), err)
}

// summaryOf is the line that counts the changes.
func summaryOf(plan string) string {
	for _, line := range strings.Split(plan, "\n") {
		if strings.HasPrefix(line, "Plan:") || strings.HasPrefix(line, "Changes to Outputs:") {
			return strings.TrimSpace(line)
		}
	}
	return lastLines(plan)
}

// errorsOf are the headings of what terraform complains about; below each there are lines of context.
func errorsOf(complaint string) string {
	var headings []string
	for _, line := range strings.Split(complaint, "\n") {
		if strings.HasPrefix(line, "Error: ") && len(headings) < planLines {
			headings = append(headings, strings.TrimSpace(line))
		}
	}
	if len(headings) == 0 {
		return lastLines(complaint)
	}
	return strings.Join(headings, " / ")
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-planLines):], " / ")
}
