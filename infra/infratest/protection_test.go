package infratest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// safeguard says what makes one stateful resource safe: encrypted, and not lost by a slip. An empty result is good.
type safeguard func(s state, r resource) (faults []string)

// safeguards names every type that keeps something. A type that is neither here nor among the stateless ones fails the
// test: whoever adds a resource says which it is.
var safeguards = map[string]safeguard{
	"aws_rds_global_cluster": func(_ state, r resource) []string {
		return want(r, map[string]any{"storage_encrypted": true, "deletion_protection": true, "force_destroy": false})
	},
	"aws_rds_cluster": func(s state, r resource) []string {
		faults := want(r, map[string]any{
			"storage_encrypted": true, "deletion_protection": true, "skip_final_snapshot": false,
			"delete_automated_backups": false, "copy_tags_to_snapshot": true, "backup_retention_period": 7.0,
		})
		if r.text("final_snapshot_identifier") == "" {
			faults = append(faults, "has no name for its final snapshot")
		}
		return append(faults, underSiteKey(s, r, "kms_key_id")...)
	},
	"aws_rds_cluster_instance": func(s state, r resource) []string {
		return underSiteKey(s, r, "performance_insights_kms_key_id")
	},
	"aws_efs_file_system": func(s state, r resource) []string {
		faults := append(want(r, map[string]any{"encrypted": true}), underSiteKey(s, r, "kms_key_id")...)
		for _, b := range s.of("aws_efs_backup_policy") {
			if b.text("file_system_id") == r.text("id") && b.block("backup_policy")["status"] == "ENABLED" {
				return faults
			}
		}
		return append(faults, "has no backups")
	},
	"aws_s3_bucket": func(s state, r resource) []string {
		faults := want(r, map[string]any{"force_destroy": false})
		for _, companion := range []string{
			"aws_s3_bucket_server_side_encryption_configuration", "aws_s3_bucket_public_access_block", "aws_s3_bucket_policy",
		} {
			if !slices.ContainsFunc(s.of(companion), func(c resource) bool { return c.text("bucket") == r.text("bucket") }) {
				faults = append(faults, "has no "+companion)
			}
		}
		return faults
	},
	"aws_secretsmanager_secret": func(s state, r resource) []string {
		faults := append(want(r, map[string]any{"recovery_window_in_days": 30.0}), underSiteKey(s, r, "kms_key_id")...)
		if len(r.list("replica")) != 1 {
			faults = append(faults, "has no replica in the other region")
		}
		return faults
	},
	"aws_kms_key": func(_ state, r resource) []string {
		return want(r, map[string]any{"enable_key_rotation": true, "deletion_window_in_days": 30.0})
	},
	"aws_cloudwatch_log_group": func(s state, r resource) []string {
		faults := underSiteKey(s, r, "kms_key_id")
		if r.number("retention_in_days") < 1 {
			faults = append(faults, "keeps its logs for ever")
		}
		return faults
	},
	"aws_sns_topic": func(s state, r resource) []string { return underSiteKey(s, r, "kms_master_key_id") },
	"aws_lb": func(_ state, r resource) []string {
		return want(r, map[string]any{"enable_deletion_protection": true})
	},
	"aws_cloudformation_stack": func(_ state, r resource) []string { return termTableFaults(r) },
}

// stateless types keep nothing that could not be made again from the configuration.
var stateless = []string{
	"aws_appautoscaling_policy", "aws_appautoscaling_target", "aws_cloudwatch_composite_alarm", "aws_cloudwatch_dashboard",
	"aws_cloudwatch_metric_alarm", "aws_config_configuration_recorder", "aws_config_configuration_recorder_status",
	"aws_config_delivery_channel", "aws_db_event_subscription", "aws_db_parameter_group", "aws_db_subnet_group",
	"aws_default_security_group", "aws_ecr_replication_configuration", "aws_ecs_cluster", "aws_ecs_service",
	"aws_ecs_task_definition", "aws_efs_access_point", "aws_efs_backup_policy", "aws_efs_mount_target", "aws_eip",
	"aws_flow_log", "aws_guardduty_detector", "aws_iam_role", "aws_iam_role_policy", "aws_iam_role_policy_attachment",
	"aws_internet_gateway", "aws_kms_alias", "aws_lb_listener", "aws_lb_listener_rule", "aws_lb_target_group",
	"aws_nat_gateway", "aws_rds_cluster_parameter_group", "aws_route", "aws_route53_health_check", "aws_route53_record",
	"aws_route_table", "aws_route_table_association", "aws_s3_bucket_lifecycle_configuration",
	"aws_s3_bucket_ownership_controls", "aws_s3_bucket_policy", "aws_s3_bucket_public_access_block",
	"aws_s3_bucket_server_side_encryption_configuration", "aws_s3_bucket_versioning", "aws_secretsmanager_secret_version",
	"aws_security_group", "aws_sns_topic_policy", "aws_sns_topic_subscription", "aws_subnet", "aws_vpc", "aws_vpc_endpoint",
	"aws_vpc_peering_connection", "aws_vpc_peering_connection_accepter", "aws_vpc_security_group_egress_rule",
	"aws_vpc_security_group_ingress_rule",
}

func TestWhatKeepsDataIsEncryptedAndProtected(t *testing.T) {
	s := protectedState(t)
	seen := map[string]bool{}
	for _, r := range s.resources {
		guard, keeps := safeguards[r.Type]
		if !keeps {
			if !slices.Contains(stateless, r.Type) {
				t.Errorf("%s: type %s is neither among the stateful nor the stateless types of this test: say which it is", r.Address, r.Type)
			}
			continue
		}
		seen[r.Type] = true
		for _, fault := range guard(s, r) {
			t.Errorf("%s %s", r.Address, fault)
		}
	}
	for kind := range safeguards {
		if !seen[kind] {
			t.Errorf("the state has no %s: this test checks less than it says", kind)
		}
	}
}

func want(r resource, values map[string]any) (faults []string) {
	for name, value := range values {
		if r.Values[name] != value {
			got, _ := json.Marshal(r.Values[name])
			wanted, _ := json.Marshal(value)
			faults = append(faults, "has "+name+" = "+string(got)+", want "+string(wanted))
		}
	}
	slices.Sort(faults)
	return faults
}

// underSiteKey wants the attribute to name the key of the resource's own site.
func underSiteKey(s state, r resource, attribute string) []string {
	site := r.site()
	if site == "" {
		site = "primary" // what the root module makes, it makes there
	}
	for _, key := range s.of("aws_kms_key") {
		if key.site() == site && key.text("arn") != "" && key.text("arn") == r.text(attribute) {
			return nil
		}
	}
	return []string{"is not under its site's key (" + attribute + ")"}
}

func termTableFaults(r resource) (faults []string) {
	var template struct {
		Resources map[string]struct {
			DeletionPolicy, UpdateReplacePolicy string
			Properties                          struct {
				MultiRegionConsistency string
				Replicas               []struct {
					Region                           string
					DeletionProtectionEnabled        bool
					PointInTimeRecoverySpecification struct{ PointInTimeRecoveryEnabled bool }
				}
				GlobalTableWitnesses []struct{ Region string }
			}
		}
	}
	if err := json.Unmarshal([]byte(r.text("template_body")), &template); err != nil {
		return []string{"has no readable template: " + err.Error()}
	}
	table, has := template.Resources["TermTable"]
	if !has {
		return []string{"has no TermTable"}
	}
	if table.DeletionPolicy != "Retain" || table.UpdateReplacePolicy != "Retain" {
		faults = append(faults, "deletes the term table with the stack")
	}
	if table.Properties.MultiRegionConsistency != "STRONG" {
		faults = append(faults, "is not strongly consistent")
	}
	regions := map[string]bool{}
	for _, replica := range table.Properties.Replicas {
		regions[replica.Region] = true
		if !replica.DeletionProtectionEnabled || !replica.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled {
			faults = append(faults, "has an unprotected replica in "+replica.Region)
		}
	}
	for _, witness := range table.Properties.GlobalTableWitnesses {
		regions[witness.Region] = true
	}
	if len(regions) != 3 || len(table.Properties.GlobalTableWitnesses) != 1 {
		faults = append(faults, "is not spread over two replicas and a witness")
	}
	return faults
}

// The database refuses clients without TLS, and so does the way in.
func TestTLSIsRequired(t *testing.T) {
	s := protectedState(t)
	for _, group := range s.some(t, "aws_rds_cluster_parameter_group") {
		found := false
		for _, p := range group.list("parameter") {
			parameter, _ := p.(map[string]any)
			found = found || parameter["name"] == "rds.force_ssl" && parameter["value"] == "1"
		}
		if !found {
			t.Errorf("%s does not set rds.force_ssl", group.Address)
		}
	}
	for _, listener := range s.some(t, "aws_lb_listener") {
		action := listener.block("default_action")
		switch listener.text("protocol") {
		case "HTTP":
			if action["type"] != "redirect" {
				t.Errorf("%s serves payments without TLS", listener.Address)
			}
		case "HTTPS":
			if !strings.HasPrefix(listener.text("ssl_policy"), "ELBSecurityPolicy-TLS13") {
				t.Errorf("%s: policy %q", listener.Address, listener.text("ssl_policy"))
			}
			if region := strings.Split(listener.text("certificate_arn"), ":")[3]; !strings.Contains(listener.text("arn"), region) {
				t.Errorf("%s uses a certificate of %s", listener.Address, region)
			}
		default:
			t.Errorf("%s speaks %q", listener.Address, listener.text("protocol"))
		}
	}
	for _, task := range s.some(t, "aws_ecs_task_definition") {
		if !strings.Contains(task.text("container_definitions"), `{"name":"DB_SSLMODE","value":"require"}`) {
			t.Errorf("%s talks to the database without requiring TLS", task.Address)
		}
	}
}
