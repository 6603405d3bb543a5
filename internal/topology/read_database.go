package topology

import "slices"

// maximumPort is the highest TCP port.
const maximumPort = 65535

// readDatabases reads global clusters, clusters and instances. Which cluster is secondary is known once the sites are.
func (p *parser) readDatabases() {
	for _, r := range p.byType["aws_rds_global_cluster"] {
		g := GlobalCluster{Identifier: r.text("global_cluster_identifier"), ARN: r.text("arn"), Engine: r.text("engine"), EngineVersion: r.text("engine_version")}
		p.define(kindGlobalCluster, g.Identifier, r.object)
		for _, b := range r.blocks("global_cluster_members") {
			p.members[g.Identifier] = append(p.members[g.Identifier], b.text("db_cluster_arn"))
		}
		p.t.GlobalClusters = append(p.t.GlobalClusters, g)
	}
	groups, parameters := p.readDatabaseGroups()
	regionOf := map[string]string{}
	for _, r := range p.byType["aws_rds_cluster"] {
		c := p.readCluster(r, groups, parameters)
		p.t.DBClusters = append(p.t.DBClusters, c)
		regionOf[c.Identifier] = c.Region
	}
	for _, r := range p.byType["aws_rds_cluster_instance"] {
		i := DBInstance{
			Identifier: r.text("identifier"), ClusterIdentifier: r.text("cluster_identifier"), Class: r.text("instance_class"),
			AvailabilityZone: r.optional("availability_zone"), PromotionTier: r.integer("promotion_tier", 0, 15),
		}
		i.ARN, i.Region = r.home("arn")
		p.define(kindDBInstance, i.Region+"/"+i.Identifier, r.object)
		p.wantIn(kindDBCluster, i.Region, i.ClusterIdentifier, r.object, "cluster_identifier")
		p.t.DBInstances = append(p.t.DBInstances, i)
	}
}

// readDatabaseGroups reads subnet groups and parameter groups by "region/name".
func (p *parser) readDatabaseGroups() (subnets map[string][]string, parameters map[string]map[string]string) {
	subnets, parameters = map[string][]string{}, map[string]map[string]string{}
	for _, r := range p.byType["aws_db_subnet_group"] {
		_, region := r.home("arn")
		key := region + "/" + r.text("name")
		p.define(kindSubnetGroup, key, r.object)
		subnets[key] = slices.Sorted(slices.Values(r.texts("subnet_ids")))
		p.wantAll(kindSubnet, subnets[key], r.object, "subnet_ids")
	}
	for _, r := range p.byType["aws_rds_cluster_parameter_group"] {
		_, region := r.home("arn")
		key := region + "/" + r.text("name")
		p.define(kindParameterGroup, key, r.object)
		settings := map[string]string{}
		for _, b := range r.blocks("parameter") {
			settings[b.text("name")] = b.optional("value")
		}
		parameters[key] = settings
	}
	return subnets, parameters
}

func (p *parser) readCluster(r *resource, groups map[string][]string, parameters map[string]map[string]string) DBCluster {
	c := DBCluster{
		Identifier: r.text("cluster_identifier"), GlobalClusterIdentifier: r.optional("global_cluster_identifier"),
		Engine: r.text("engine"), EngineVersion: r.text("engine_version"),
		Endpoint: r.text("endpoint"), ReaderEndpoint: r.text("reader_endpoint"),
		Port:         r.integer("port", 1, maximumPort),
		DatabaseName: r.optional("database_name"), MasterUsername: r.optional("master_username"),
		BackupRetentionDays: r.integer("backup_retention_period", 1, 35),
		DeletionProtection:  r.truth("deletion_protection"), StorageEncrypted: r.truth("storage_encrypted"),
		SecurityGroupIDs: slices.Sorted(slices.Values(r.texts("vpc_security_group_ids"))),
		ParameterGroup:   r.optional("db_cluster_parameter_group_name"),
	}
	c.ARN, c.Region = r.home("arn")
	if c.Engine != "" && c.Engine != "aurora-postgresql" {
		r.problem("engine", "is not understood", "use aurora-postgresql: the twin runs PostgreSQL")
	}
	p.define(kindDBCluster, c.Region+"/"+c.Identifier, r.object)
	p.define(kindDBClusterARN, c.ARN, r.object)
	p.wantAll(kindSecurityGroup, c.SecurityGroupIDs, r.object, "vpc_security_group_ids")
	p.want(kindGlobalCluster, c.GlobalClusterIdentifier, r.object, "global_cluster_identifier")
	group := r.text("db_subnet_group_name")
	p.wantIn(kindSubnetGroup, c.Region, group, r.object, "db_subnet_group_name")
	c.SubnetGroup, c.SubnetIDs = group, groups[c.Region+"/"+group]
	if settings, own := parameters[c.Region+"/"+c.ParameterGroup]; own {
		c.Parameters = settings
	} else if !isDefaultGroup(c.ParameterGroup) {
		p.wantIn(kindParameterGroup, c.Region, c.ParameterGroup, r.object, "db_cluster_parameter_group_name")
	}
	if source := r.optional("replication_source_identifier"); source != "" {
		p.want(kindDBClusterARN, source, r.object, "replication_source_identifier")
		p.edge(r.object, "replication_source_identifier", c.ARN, source)
	}
	return c
}

// isDefaultGroup reports whether the parameter group is one that AWS made, which no Terraform defines.
func isDefaultGroup(name string) bool { return len(name) >= 8 && name[:8] == "default." }
