# The inputs, each with what makes it valid. Conditions name nothing but variables, so that tests/inputs can run them
# without planning the whole configuration; messages say what to change.

# ---------------------------------------------------------------------------------------------------------------------
# The deployment

variable "environment_suffix" {
  description = "Unique end of every resource name, as in \"prod-abc123\"."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9](-?[a-z0-9])*$", var.environment_suffix)) && length(var.environment_suffix) <= 16
    error_message = "environment_suffix must be 1 to 16 lower-case letters and digits, with single hyphens between them: load balancers and Aurora take no other names."
  }
}

variable "throw_away" {
  description = "One switch for environments that may be lost: no deletion protection, no final snapshots, plain HTTP, image tags and example.com allowed."
  type        = bool
  default     = false
  nullable    = false
}

variable "account_id" {
  description = "AWS account of the deployment. Given, it also guards against applying to another one; null asks AWS."
  type        = string
  default     = null

  validation {
    condition     = var.account_id == null || can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setintersection(keys(var.tags), ["Deployment", "ManagedBy", "Name"])) == 0 && !anytrue([for key in keys(var.tags) : startswith(lower(key), "aws:")])
    error_message = "tags must not set Deployment, ManagedBy, Name or anything that starts with \"aws:\": these belong to the configuration and to AWS."
  }
}

# ---------------------------------------------------------------------------------------------------------------------
# Places

variable "sites" {
  description = <<-EOT
    The two sites and the region that only votes for the term. `primary` and `dr` are names, not roles. Each site has a
    region, a VPC range, at least three availability zones (null: the usual ones) and the smallest number of payment
    tasks that autoscaling keeps there.
  EOT
  type = object({
    primary = optional(object({
      region             = optional(string, "us-east-1")
      vpc_cidr           = optional(string, "10.0.0.0/16")
      availability_zones = optional(list(string))
      min_tasks          = optional(number, 2)
    }), {})
    dr = optional(object({
      region             = optional(string, "us-west-2")
      vpc_cidr           = optional(string, "10.1.0.0/16")
      availability_zones = optional(list(string))
      min_tasks          = optional(number, 2)
    }), {})
    witness_region = optional(string, "us-east-2")
  })
  default  = {}
  nullable = false

  validation {
    # "Region sets" of https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-dynamodb-globaltable-globaltablewitness.html
    # (read 2026-11-22): replicas and witness of a strongly consistent table must come from one of them.
    condition = anytrue([
      for set in [
        ["us-east-1", "us-east-2", "us-west-2"],
        ["eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3"],
        ["ap-northeast-1", "ap-northeast-2", "ap-northeast-3"],
      ] : alltrue([for region in [var.sites.primary.region, var.sites.dr.region, var.sites.witness_region] : contains(set, region)])
    ])
    error_message = "The regions of primary, dr and witness must come from one set that DynamoDB keeps strongly consistent: us-east-1, us-east-2, us-west-2; or eu-central-1, eu-west-1, eu-west-2, eu-west-3; or ap-northeast-1, ap-northeast-2, ap-northeast-3."
  }

  validation {
    condition     = length(distinct([var.sites.primary.region, var.sites.dr.region, var.sites.witness_region])) == 3
    error_message = "primary, dr and witness must be three different regions: the loss of one must leave a majority."
  }

  validation {
    condition = alltrue([
      for cidr in [var.sites.primary.vpc_cidr, var.sites.dr.vpc_cidr] :
      try(cidrhost(cidr, 0) == split("/", cidr)[0] && tonumber(split("/", cidr)[1]) >= 16 && tonumber(split("/", cidr)[1]) <= 19, false)
    ])
    error_message = "vpc_cidr must be the first address of a range of size /16 to /19, as in 10.0.0.0/16."
  }

  validation {
    # Two ranges overlap exactly when they are equal at the length of the shorter prefix.
    condition = try(
      cidrhost("${split("/", var.sites.primary.vpc_cidr)[0]}/${min([for cidr in [var.sites.primary.vpc_cidr, var.sites.dr.vpc_cidr] : tonumber(split("/", cidr)[1])]...)}", 0) !=
      cidrhost("${split("/", var.sites.dr.vpc_cidr)[0]}/${min([for cidr in [var.sites.primary.vpc_cidr, var.sites.dr.vpc_cidr] : tonumber(split("/", cidr)[1])]...)}", 0),
      true, # a malformed range is reported by the rule above
    )
    error_message = "The VPC ranges of primary and dr overlap: the peering connection could not route between them. Give dr another vpc_cidr, as in 10.1.0.0/16."
  }

  validation {
    condition = alltrue([
      for site in [var.sites.primary, var.sites.dr] : site.availability_zones == null ? true : (
        length(site.availability_zones) >= 3 && length(site.availability_zones) <= 6 &&
        length(distinct(site.availability_zones)) == length(site.availability_zones) &&
        alltrue([for zone in site.availability_zones : can(regex("^${site.region}[a-z]$", zone))])
      )
    ])
    error_message = "availability_zones must be three to six different zones of the site's own region, as in [\"us-east-1a\", \"us-east-1b\", \"us-east-1c\"]: the loss of one must leave two."
  }

  validation {
    condition     = alltrue([for site in [var.sites.primary, var.sites.dr] : site.min_tasks >= 0 && site.min_tasks <= var.service.max_tasks && floor(site.min_tasks) == site.min_tasks])
    error_message = "min_tasks must be a whole number from 0 to service.max_tasks."
  }

  validation {
    condition     = var.throw_away || var.sites.primary.min_tasks >= 1
    error_message = "Site primary needs at least one task (sites.primary.min_tasks): it is the active site on the first day. Only dr may be scaled down to 0."
  }
}

variable "network" {
  description = <<-EOT
    NAT gateways ("single" or "per_zone"), who may reach the balancers, which AWS services are reached through interface
    endpoints (an empty list leaves them to the NAT gateway), and flow logs.
  EOT
  type = object({
    nat          = optional(string, "per_zone")
    client_cidrs = optional(list(string), ["0.0.0.0/0"])
    interface_endpoints = optional(set(string), [
      "ecr.api", "ecr.dkr", "ecs", "elasticloadbalancing", "logs", "monitoring", "rds", "secretsmanager",
    ])
    flow_logs = optional(object({
      enabled      = optional(bool, true)
      traffic_type = optional(string, "ALL")
    }), {})
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["single", "per_zone"], var.network.nat)
    error_message = "network.nat must be \"single\" (cheaper, lost with its zone) or \"per_zone\"."
  }

  validation {
    condition     = length(var.network.client_cidrs) > 0 && alltrue([for cidr in var.network.client_cidrs : can(cidrhost(cidr, 0)) && can(regex("^[0-9.]+/", cidr))])
    error_message = "network.client_cidrs must list at least one IPv4 range, as in [\"0.0.0.0/0\"]. Route 53's health checkers must be among them."
  }

  validation {
    condition     = alltrue([for service in var.network.interface_endpoints : can(regex("^[a-z0-9.-]+$", service)) && !contains(["s3", "dynamodb"], service)])
    error_message = "network.interface_endpoints must be service names as in \"secretsmanager\"; s3 and dynamodb have gateway endpoints already."
  }

  validation {
    condition     = contains(["ALL", "ACCEPT", "REJECT"], var.network.flow_logs.traffic_type)
    error_message = "network.flow_logs.traffic_type must be ALL, ACCEPT or REJECT."
  }
}

# ---------------------------------------------------------------------------------------------------------------------
# Database

variable "engine_version" {
  description = "Aurora PostgreSQL version, as in \"14.7\" or newer."
  type        = string
  default     = "16.8"
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+$", var.engine_version))
    error_message = "engine_version must name major and minor version, as in \"16.8\"."
  }

  validation {
    # The smallest minors of which Aurora makes global databases, as a third party's copy of AWS's table had them on
    # 2026-11-22. AWS's own page was not read; check them against "Aurora global databases with Aurora PostgreSQL" in
    # https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Concepts.Aurora_Fea_Regions_DB-eng.Feature.GlobalDatabase.html
    # A major that is newer than the list is left to AWS to judge. 13 is left out, because its support has ended.
    condition = try(
      tonumber(split(".", var.engine_version)[0]) > 18 ||
      tonumber(split(".", var.engine_version)[1]) >= lookup({ "14" = 3, "15" = 2, "16" = 1, "17" = 4, "18" = 3 }, split(".", var.engine_version)[0], 1000),
      true, # a malformed version is reported by the rule above
    )
    error_message = "This engine_version cannot be a global database with managed failover. Use 14.3, 15.2, 16.1, 17.4, 18.3 or newer of one of these."
  }
}

variable "database" {
  description = <<-EOT
    The Aurora Global Database: names, size, backups. `serverless` replaces the instance class by Serverless v2.
    `global_rpo_seconds` makes commits wait when every secondary lags more than that. To change the master password,
    raise `password_version` and name the site whose cluster is the writer now in `writer_site`.
  EOT
  type = object({
    name                                = optional(string, "payments")
    username                            = optional(string, "payments")
    port                                = optional(number, 5432)
    instance_class                      = optional(string, "db.r6g.large")
    instances_per_site                  = optional(number, 2)
    backup_retention_days               = optional(number, 7)
    serverless                          = optional(object({ min_acu = number, max_acu = number }))
    global_rpo_seconds                  = optional(number)
    performance_insights_retention_days = optional(number, 7)
    enhanced_monitoring_seconds         = optional(number, 60)
    password_version                    = optional(number, 1)
    writer_site                         = optional(string, "primary")
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database.name)) && !contains(["postgres", "rdsadmin", "template0", "template1"], var.database.name)
    error_message = "database.name must be a lower-case PostgreSQL name of at most 63 characters that is not one of the engine's own."
  }

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database.username)) && !contains(["admin", "postgres", "rdsadmin", "rds_superuser"], var.database.username)
    error_message = "database.username must be a lower-case PostgreSQL name of at most 63 characters that is not reserved."
  }

  validation {
    condition     = var.database.port >= 1150 && var.database.port <= 65535 && floor(var.database.port) == var.database.port
    error_message = "database.port must be a whole number from 1150 to 65535."
  }

  validation {
    condition     = can(regex("^db\\.(r5|r6g|r6gd|r6i|r7g|r7i|r8g|x2g)\\.(large|[0-9]*xlarge)$", var.database.instance_class))
    error_message = "database.instance_class must be of the memory-optimised families that a global database needs (db.r5, db.r6g, db.r6i, db.r7g, db.r7i, db.r8g, db.x2g), as in \"db.r6g.large\"."
  }

  validation {
    condition     = var.database.instances_per_site >= 1 && var.database.instances_per_site <= 16 && floor(var.database.instances_per_site) == var.database.instances_per_site
    error_message = "database.instances_per_site must be a whole number from 1 to 16."
  }

  validation {
    condition     = var.throw_away || var.database.instances_per_site >= 2
    error_message = "database.instances_per_site must be at least 2 in a protected environment: with one, an instance failure becomes a failover between regions."
  }

  validation {
    condition     = var.database.backup_retention_days >= 1 && var.database.backup_retention_days <= 35 && (var.throw_away || var.database.backup_retention_days >= 7)
    error_message = "database.backup_retention_days must be 7 to 35 (1 to 35 in a throw-away environment)."
  }

  validation {
    condition = var.database.serverless == null ? true : (
      var.database.serverless.min_acu >= 0.5 && var.database.serverless.min_acu <= var.database.serverless.max_acu && var.database.serverless.max_acu <= 256 &&
      floor(var.database.serverless.min_acu * 2) == var.database.serverless.min_acu * 2 && floor(var.database.serverless.max_acu * 2) == var.database.serverless.max_acu * 2
    )
    error_message = "database.serverless needs 0.5 <= min_acu <= max_acu <= 256, in steps of 0.5."
  }

  validation {
    condition     = var.database.global_rpo_seconds == null ? true : var.database.global_rpo_seconds >= 20 && floor(var.database.global_rpo_seconds) == var.database.global_rpo_seconds
    error_message = "database.global_rpo_seconds must be a whole number of at least 20, or null to leave commits alone."
  }

  validation {
    condition     = contains([7, 731], var.database.performance_insights_retention_days) || (var.database.performance_insights_retention_days % 31 == 0 && var.database.performance_insights_retention_days >= 31 && var.database.performance_insights_retention_days <= 713)
    error_message = "database.performance_insights_retention_days must be 7 (free), 731, or a multiple of 31 up to 713."
  }

  validation {
    condition     = contains([0, 1, 5, 10, 15, 30, 60], var.database.enhanced_monitoring_seconds)
    error_message = "database.enhanced_monitoring_seconds must be 0 (off), 1, 5, 10, 15, 30 or 60."
  }

  validation {
    condition     = var.database.password_version >= 1 && floor(var.database.password_version) == var.database.password_version
    error_message = "database.password_version must be a whole number of at least 1; raise it to send a new password."
  }

  validation {
    condition     = contains(["primary", "dr"], var.database.writer_site)
    error_message = "database.writer_site must be \"primary\" or \"dr\": the site whose cluster is the writer now."
  }
}

variable "db_master_password" {
  description = "Master password of the database, with generate_db_master_password = false. It never enters state or plan."
  type        = string
  default     = null
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = var.db_master_password == null ? true : can(regex("^[!-~]{16,99}$", var.db_master_password)) && !can(regex("[/@\"' ]", var.db_master_password))
    error_message = "db_master_password must have 16 to 99 printable ASCII characters and no space, slash, at sign or quote: Aurora takes no other."
  }

  validation {
    condition     = (var.db_master_password == null) == var.generate_db_master_password
    error_message = "Either leave db_master_password out, or give it and set generate_db_master_password = false."
  }
}

variable "generate_db_master_password" {
  description = "Whether the database's master password is generated. With false, give db_master_password."
  type        = bool
  default     = true
  nullable    = false
}

# ---------------------------------------------------------------------------------------------------------------------
# Tasks

variable "container_image" {
  description = "Image of the payment service, by digest in a protected environment."
  type        = string

  validation {
    condition     = can(regex("^[^\\s]+$", var.container_image))
    error_message = "container_image must name an image."
  }

  validation {
    condition     = var.throw_away || can(regex("@sha256:[0-9a-f]{64}$", var.container_image))
    error_message = "container_image must name its digest (…@sha256:<64 hex digits>) in a protected environment: behind a tag, the two sites may run different code."
  }
}

variable "replicate_images" {
  description = "Whether ECR copies the images from site primary's region to site dr's, where the tasks there pull them. It sets the account's registry-wide replication rules in that region; false if these are managed elsewhere."
  type        = bool
  default     = true
  nullable    = false
}

variable "service" {
  description = <<-EOT
    The payment service: port, size, scaling, draining, the acquirer it calls, and further environment. `stop_timeout`
    and `deregistration_time` are in seconds, and so is `client_keep_alive`, after which a client's connection is closed
    so that it asks DNS again. `health_check_path` must answer 200 on a standby too, whose database takes no writes.
  EOT
  type = object({
    port                = optional(number, 8080)
    cpu_units           = optional(number, 256)
    memory_mib          = optional(number, 512)
    cpu_architecture    = optional(string, "X86_64")
    max_tasks           = optional(number, 10)
    cpu_target_percent  = optional(number, 60)
    stop_timeout        = optional(number, 60)
    deregistration_time = optional(number, 30)
    client_keep_alive   = optional(number, 120)
    health_check_path   = optional(string, "/readyz")
    acquirer_url        = optional(string, "https://acquirer.example.com")
    environment         = optional(map(string), {})
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.service.port >= 1024 && var.service.port <= 65535 && floor(var.service.port) == var.service.port
    error_message = "service.port must be a whole number from 1024 to 65535: the task does not run as root."
  }

  validation {
    condition = contains(lookup({
      "256"  = [512, 1024, 2048]
      "512"  = range(1024, 4097, 1024)
      "1024" = range(2048, 8193, 1024)
      "2048" = range(4096, 16385, 1024)
      "4096" = range(8192, 30721, 1024)
    }, tostring(var.service.cpu_units), []), var.service.memory_mib)
    error_message = "service.cpu_units and service.memory_mib must be a size that Fargate has: 256 with 512, 1024 or 2048; 512 with 1024 to 4096; 1024 with 2048 to 8192; 2048 with 4096 to 16384; 4096 with 8192 to 30720."
  }

  validation {
    condition     = contains(["X86_64", "ARM64"], var.service.cpu_architecture)
    error_message = "service.cpu_architecture must be X86_64 or ARM64."
  }

  validation {
    condition     = var.service.max_tasks >= 1 && var.service.max_tasks <= 1000 && floor(var.service.max_tasks) == var.service.max_tasks
    error_message = "service.max_tasks must be a whole number from 1 to 1000."
  }

  validation {
    condition     = var.service.cpu_target_percent >= 10 && var.service.cpu_target_percent <= 90
    error_message = "service.cpu_target_percent must be from 10 to 90."
  }

  validation {
    condition     = var.service.stop_timeout >= 1 && var.service.stop_timeout <= 120 && var.service.deregistration_time >= 0 && var.service.deregistration_time < var.service.stop_timeout
    error_message = "service.stop_timeout must be 1 to 120 s (Fargate's limit) and longer than service.deregistration_time, or a task is killed while the balancer still sends it payments."
  }

  validation {
    # A balancer takes 60 s to 7 days, 3600 s if nothing is said: "HTTP client keepalive duration" in
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html (read 2026-11-22).
    condition     = var.service.client_keep_alive >= 60 && var.service.client_keep_alive <= 300
    error_message = "service.client_keep_alive must be 60 to 300 s: a longer-lived connection stays with a site after DNS has moved."
  }

  validation {
    condition     = can(regex("^/[!-~]*$", var.service.health_check_path)) && length(var.service.health_check_path) <= 1024
    error_message = "service.health_check_path must begin with \"/\", as in \"/readyz\", and have at most 1024 characters and no space."
  }

  validation {
    condition     = can(regex("^https?://[^\\s/]+", var.service.acquirer_url)) && (var.throw_away || startswith(var.service.acquirer_url, "https://"))
    error_message = "service.acquirer_url must be a URL, with https outside throw-away environments."
  }

  validation {
    condition     = var.throw_away || !can(regex("^https?://([^/]*\\.)?example\\.com(:[0-9]+)?(/|$)", var.service.acquirer_url))
    error_message = "service.acquirer_url is still the example: name your acquirer, or set throw_away for a rehearsal."
  }

  validation {
    condition     = alltrue([for name in keys(var.service.environment) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name)) && !can(regex("^(PAYD_|DB_|HOLDFAST_|AWS_)", name))])
    error_message = "service.environment must not set names that begin with PAYD_, DB_, HOLDFAST_ or AWS_: these come from the configuration."
  }
}

variable "warden" {
  description = <<-EOT
    The wardens: image, mode ("automatic", "approval" or "manual": who may take the term), size and times. Lease and
    margin go into the term record when it is created; later changes are made with the holdfast command.
  EOT
  type = object({
    image              = string
    mode               = optional(string, "automatic")
    port               = optional(number, 9100)
    forward_port       = optional(number, 9101)
    tasks              = optional(number, 2)
    cpu_units          = optional(number, 256)
    memory_mib         = optional(number, 512)
    cpu_architecture   = optional(string, "X86_64")
    lease_seconds      = optional(number, 20)
    margin_seconds     = optional(number, 2.5)
    max_lag            = optional(string, "5m")
    database_threshold = optional(string, "60s")
    app_threshold      = optional(string, "60s")
    balancer_threshold = optional(string, "60s")
    handoff_timeout    = optional(string, "5m")
    beacon_max_age     = optional(string, "30s")
    cool_down          = optional(string, "10m")
    capacity_for       = optional(string, "15m")
    forward_for        = optional(string, "5m")
  })

  validation {
    condition     = can(regex("^[^\\s]+$", var.warden.image)) && (var.throw_away || can(regex("@sha256:[0-9a-f]{64}$", var.warden.image)))
    error_message = "warden.image must name its digest (…@sha256:<64 hex digits>) in a protected environment: behind a tag, two wardens may follow different rules."
  }

  validation {
    condition     = contains(["automatic", "approval", "manual"], var.warden.mode)
    error_message = "warden.mode must be \"automatic\", \"approval\" or \"manual\"."
  }

  validation {
    condition = (
      alltrue([for port in [var.warden.port, var.warden.forward_port] : port >= 1024 && port <= 65535 && floor(port) == port]) &&
      var.warden.port != var.warden.forward_port
    )
    error_message = "warden.port and warden.forward_port must be two different whole numbers from 1024 to 65535: the task does not run as root."
  }

  validation {
    condition     = var.warden.tasks >= 2 && var.warden.tasks <= 6 && floor(var.warden.tasks) == var.warden.tasks
    error_message = "warden.tasks must be a whole number from 2 to 6: a site whose only warden dies loses its lease."
  }

  validation {
    condition = contains(lookup({
      "256"  = [512, 1024, 2048]
      "512"  = range(1024, 4097, 1024)
      "1024" = range(2048, 8193, 1024)
    }, tostring(var.warden.cpu_units), []), var.warden.memory_mib)
    error_message = "warden.cpu_units and warden.memory_mib must be a size that Fargate has: 256 with 512, 1024 or 2048; 512 with 1024 to 4096; 1024 with 2048 to 8192."
  }

  validation {
    condition     = contains(["X86_64", "ARM64"], var.warden.cpu_architecture)
    error_message = "warden.cpu_architecture must be X86_64 or ARM64."
  }

  validation {
    condition     = var.warden.lease_seconds >= 5 && var.warden.lease_seconds <= 300 && var.warden.margin_seconds >= 1 && var.warden.margin_seconds * 2 <= var.warden.lease_seconds
    error_message = "warden.lease_seconds must be 5 to 300, and warden.margin_seconds at least 1 and at most half the lease."
  }

  validation {
    condition = alltrue([
      for duration in [var.warden.max_lag, var.warden.database_threshold, var.warden.app_threshold, var.warden.balancer_threshold, var.warden.handoff_timeout, var.warden.beacon_max_age, var.warden.cool_down, var.warden.capacity_for, var.warden.forward_for] :
      can(regex("^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$", duration))
    ])
    error_message = "warden.max_lag, database_threshold, app_threshold, balancer_threshold, handoff_timeout, beacon_max_age, cool_down, capacity_for and forward_for must be durations as in \"60s\" or \"5m\"."
  }
}

# ---------------------------------------------------------------------------------------------------------------------
# The way in

variable "domain_name" {
  description = "Zone of the deployment; clients resolve app.<domain_name>. Null: payment-dr-<suffix>.example.com, for rehearsals only."
  type        = string
  default     = null

  validation {
    condition     = var.domain_name == null ? true : can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,}$", var.domain_name)) && length(var.domain_name) <= 249
    error_message = "domain_name must be a DNS name in lower case without a trailing dot, as in \"payments.acme.com\"."
  }

  validation {
    condition     = var.throw_away || !(var.domain_name == null ? true : can(regex("(^|\\.)example\\.com$", var.domain_name)))
    error_message = "Route 53 makes no zones under example.com: give domain_name, or set throw_away for a rehearsal on mocks or the twin."
  }
}

variable "hosted_zone_id" {
  description = "Existing, delegated Route 53 zone that holds domain_name. Null creates a zone, which you then delegate."
  type        = string
  default     = null

  validation {
    condition     = var.hosted_zone_id == null ? true : can(regex("^[A-Z0-9]{6,32}$", var.hosted_zone_id))
    error_message = "hosted_zone_id must be the id of a Route 53 zone, as in \"Z2FDTNDATAQYW2\"."
  }
}

variable "tls" {
  description = <<-EOT
    How clients reach the balancers: "acm" requests a certificate per site and validates it in hosted_zone_id,
    "provided" takes certificate_arns, "none" is plain HTTP and allowed only in a throw-away environment.
  EOT
  type = object({
    mode             = optional(string, "acm")
    certificate_arns = optional(object({ primary = string, dr = string }))
    ssl_policy       = optional(string, "ELBSecurityPolicy-TLS13-1-2-2021-06")
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["acm", "provided", "none"], var.tls.mode)
    error_message = "tls.mode must be \"acm\", \"provided\" or \"none\"."
  }

  validation {
    condition     = var.throw_away || var.tls.mode != "none"
    error_message = "tls.mode \"none\" sends payments in clear: allowed only with throw_away. Use \"acm\" or \"provided\"."
  }

  validation {
    condition     = var.tls.mode != "acm" || var.hosted_zone_id != null
    error_message = "tls.mode \"acm\" needs hosted_zone_id: a certificate is validated through a zone that is already delegated, or the apply would wait for ever. Delegate a zone first, or use \"provided\"."
  }

  validation {
    condition     = (var.tls.mode == "provided") == (var.tls.certificate_arns != null)
    error_message = "tls.certificate_arns = {primary, dr} belongs to tls.mode \"provided\", and only to it."
  }

  validation {
    condition = var.tls.certificate_arns == null ? true : (
      can(regex("^arn:aws:acm:${var.sites.primary.region}:[0-9]{12}:certificate/", var.tls.certificate_arns.primary)) &&
      can(regex("^arn:aws:acm:${var.sites.dr.region}:[0-9]{12}:certificate/", var.tls.certificate_arns.dr))
    )
    error_message = "tls.certificate_arns must name an ACM certificate in each site's own region: a balancer takes no other, and a site must not need the other's."
  }

  validation {
    condition     = can(regex("^ELBSecurityPolicy-(TLS13-1-[23]|FS-1-2)", var.tls.ssl_policy))
    error_message = "tls.ssl_policy must be an ELBSecurityPolicy that starts at TLS 1.2 or 1.3, as in \"ELBSecurityPolicy-TLS13-1-2-2021-06\"."
  }
}

variable "waf" {
  description = "Web application firewall before the balancers: whether, and how many requests one address may make in five minutes."
  type = object({
    enabled    = optional(bool, true)
    rate_limit = optional(number, 10000)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.waf.rate_limit >= 10 && var.waf.rate_limit <= 2000000000 && floor(var.waf.rate_limit) == var.waf.rate_limit
    error_message = "waf.rate_limit must be a whole number from 10 to 2000000000."
  }
}

# ---------------------------------------------------------------------------------------------------------------------
# Watching

variable "alarm_emails" {
  description = "Addresses that get the alarms of both sites; each confirms its subscription once per site."
  type        = set(string)
  default     = ["admin@example.com"]
  nullable    = false

  validation {
    condition     = length(var.alarm_emails) > 0 && alltrue([for email in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", email))])
    error_message = "alarm_emails must list at least one e-mail address: an alarm that nobody gets is none."
  }
}

variable "log_retention_days" {
  description = "Days for which logs are kept."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number that CloudWatch Logs knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "account_security" {
  description = "Account-wide services in both sites' regions, off unless asked for: GuardDuty, and AWS Config. An account has one of each per region."
  type = object({
    guardduty = optional(bool, false)
    config    = optional(bool, false)
  })
  default  = {}
  nullable = false
}
