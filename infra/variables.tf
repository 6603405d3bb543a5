variable "environment_suffix" {
  description = "Unique end of every resource name, as in \"prod-abc123\"."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9](-?[a-z0-9])*$", var.environment_suffix)) && length(var.environment_suffix) <= 16
    error_message = "environment_suffix must be 1 to 16 lower-case letters and digits, with single hyphens between them: load balancers and Aurora take no other names."
  }
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
      can(cidrhost(cidr, 0)) && try(cidrhost(cidr, 0) == split("/", cidr)[0], false) && try(tonumber(split("/", cidr)[1]) >= 16 && tonumber(split("/", cidr)[1]) <= 19, false)
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
    error_message = "availability_zones must be three to six different zones of the site's own region, as in [\"us-east-1a\", \"us-east-1b\", \"us-east-1c\"]."
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
}

variable "engine_version" {
  description = "Aurora PostgreSQL version."
  type        = string
  default     = "16.8"
}

variable "database" {
  description = "The Aurora Global Database: size, backups, Serverless v2, and where a new master password is sent."
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
}

variable "db_master_password" {
  description = "Master password of the database. Leave it out to have one generated. It never enters the state."
  type        = string
  default     = null
  sensitive   = true
  ephemeral   = true
}

variable "generate_db_master_password" {
  description = "Whether the master password is generated. Set it to false together with db_master_password."
  type        = bool
  default     = true
  nullable    = false
}

variable "container_image" {
  description = "Image of the payment service, by digest in a protected environment."
  type        = string
}

variable "service" {
  description = "The payment service: size, scaling, draining, the acquirer it calls, and further environment."
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
    acquirer_url        = optional(string, "https://acquirer.example.com")
    environment         = optional(map(string), {})
  })
  default  = {}
  nullable = false
}

variable "warden" {
  description = "The wardens: image, mode, and the times of PROTOCOL. Lease and margin go into the term record at init."
  type = object({
    image              = string
    mode               = optional(string, "automatic")
    port               = optional(number, 9100)
    tasks              = optional(number, 2)
    cpu_units          = optional(number, 256)
    memory_mib         = optional(number, 512)
    cpu_architecture   = optional(string, "X86_64")
    lease_seconds      = optional(number, 20)
    margin_seconds     = optional(number, 2.5)
    max_lag            = optional(string, "5m")
    database_threshold = optional(string, "60s")
    app_threshold      = optional(string, "60s")
    handoff_timeout    = optional(string, "5m")
    beacon_max_age     = optional(string, "30s")
  })
}

variable "domain_name" {
  description = "Zone of the deployment; clients resolve app.<domain_name>. Null: payment-dr-<suffix>.example.com, for rehearsals only."
  type        = string
  default     = null
}

variable "hosted_zone_id" {
  description = "Existing Route 53 zone for domain_name. Null creates one."
  type        = string
  default     = null
}

variable "tls" {
  description = <<-EOT
    How clients reach the balancers: "acm" requests a certificate per site and validates it in the hosted zone,
    "provided" takes certificate_arns, "none" is plain HTTP and allowed only in a throw-away environment.
  EOT
  type = object({
    mode             = optional(string, "acm")
    certificate_arns = optional(object({ primary = string, dr = string }))
    ssl_policy       = optional(string, "ELBSecurityPolicy-TLS13-1-2-2021-06")
  })
  default  = {}
  nullable = false
}

variable "waf" {
  description = "Web application firewall before the balancers: whether, and requests per address in five minutes."
  type = object({
    enabled    = optional(bool, true)
    rate_limit = optional(number, 10000)
  })
  default  = {}
  nullable = false
}

variable "alarm_emails" {
  description = "Addresses that get the alarms of both sites."
  type        = set(string)
  default     = ["admin@example.com"]
  nullable    = false
}

variable "log_retention_days" {
  description = "Days for which logs are kept."
  type        = number
  default     = 90
  nullable    = false
}

variable "throw_away" {
  description = "One switch for environments that may be lost: no deletion protection, no final snapshots, plain HTTP and image tags allowed."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
  nullable    = false
}
