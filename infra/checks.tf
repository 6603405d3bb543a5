# What a plan must say but must not stop for: a failover changes both, and nobody wants an apply to be in its way.

# The clusters ignore changes of their membership, so that no plan takes part in a failover. This is what the ignoring
# would hide. A list without members is a global cluster that was made a moment ago.
check "global_cluster_members" {
  assert {
    condition = length(aws_rds_global_cluster.this.global_cluster_members) == 0 || (
      toset([for member in aws_rds_global_cluster.this.global_cluster_members : member.db_cluster_arn]) ==
      toset([module.aurora_primary.cluster_arn, module.aurora_dr.cluster_arn])
    )
    error_message = "The global cluster's members are not exactly the clusters of primary and dr. If no failover is under way, one of them is detached: it replicates nothing. Join it again, or rebuild it, before the next drill."
  }
}

# A new master password goes to database.writer_site.
check "writer_site" {
  assert {
    condition = alltrue([
      for member in aws_rds_global_cluster.this.global_cluster_members :
      member.db_cluster_arn == local.clusters[var.database.writer_site].cluster_arn if member.is_writer
    ])
    error_message = "database.writer_site names a site whose cluster is not the writer now. Correct it before you raise database.password_version: a secondary takes no password."
  }
}
