package topology

import (
	"fmt"
	"slices"
)

// stackTemplate is the part of a CloudFormation template that a term table stands in. The table comes from a stack
// because the provider 5.100 has no argument for multi-Region strong consistency.
type stackTemplate struct {
	Resources map[string]struct {
		Type       string `json:"Type"`
		Properties struct {
			TableName              string `json:"TableName"`
			MultiRegionConsistency string `json:"MultiRegionConsistency"`
			Replicas               []struct {
				Region string `json:"Region"`
			} `json:"Replicas"`
			GlobalTableWitnesses []struct {
				Region string `json:"Region"`
			} `json:"GlobalTableWitnesses"`
		} `json:"Properties"`
	} `json:"Resources"`
}

const termTableRemedy = "create the term table with an aws_cloudformation_stack as the project's Terraform does"

// readTermTable looks for the one DynamoDB global table with strong consistency among the stacks.
func (p *parser) readTermTable() {
	for _, r := range p.byType["aws_cloudformation_stack"] {
		var template stackTemplate
		if !r.embedded("template_body", &template) {
			continue
		}
		for name, res := range template.Resources {
			if res.Type != "AWS::DynamoDB::GlobalTable" || res.Properties.MultiRegionConsistency == "" {
				continue
			}
			t := TermTable{Name: res.Properties.TableName, MultiRegionConsistency: res.Properties.MultiRegionConsistency}
			for _, replica := range res.Properties.Replicas {
				t.ReplicaRegions = append(t.ReplicaRegions, replica.Region)
			}
			slices.Sort(t.ReplicaRegions)
			if len(res.Properties.GlobalTableWitnesses) > 0 {
				t.WitnessRegion = res.Properties.GlobalTableWitnesses[0].Region
			}
			p.tableFrom = r.child("template_body.Resources."+name+".Properties.", map[string]any{
				"TableName": t.Name, "MultiRegionConsistency": t.MultiRegionConsistency, "Replicas": t.ReplicaRegions, "GlobalTableWitnesses": t.WitnessRegion,
			})
			p.tables = append(p.tables, t)
		}
	}
	switch len(p.tables) {
	case 1:
		p.t.TermTable = p.tables[0]
		p.checkTermTable(p.tables[0], p.tableFrom)
	case 0:
		p.report(Problem{Address: "aws_cloudformation_stack", Field: "template_body", Fault: "of no stack holds a DynamoDB global table with MultiRegionConsistency", Remedy: termTableRemedy})
	default:
		p.tableFrom.problem("TableName", fmt.Sprintf("is one of %d tables that could be the term table", len(p.tables)), "keep one")
	}
}

func (p *parser) checkTermTable(t TermTable, o object) {
	if t.Name == "" {
		o.problem("TableName", "is missing", termTableRemedy)
	}
	if t.MultiRegionConsistency != "STRONG" {
		o.problem("MultiRegionConsistency", "is not STRONG", "the term must be read and written with strong consistency in every region")
	}
	if len(t.ReplicaRegions) != 2 {
		o.problem("Replicas", "are not two", "put one replica in each site's region and a witness in a third")
	}
	voters := append([]string{t.WitnessRegion}, t.ReplicaRegions...)
	for _, region := range voters {
		if !KnownRegion(region) {
			o.problem("GlobalTableWitnesses", `or Replicas name the unknown region "`+region+`"`, regionRemedy)
		}
	}
	slices.Sort(voters)
	if len(slices.Compact(voters)) != 3 {
		o.problem("GlobalTableWitnesses", "shares its region with a replica", "put the witness in a third region")
	}
}
