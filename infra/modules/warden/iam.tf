# What a warden may do: its own region, and the term table in both replicas' regions. Nothing else.

locals {
  # Account, region and repository of an image that lives in ECR, else null.
  ecr = try(regex("^(?P<account>[0-9]{12})\\.dkr\\.ecr\\.(?P<region>[a-z0-9-]+)\\.amazonaws\\.com/(?P<repository>[^:@]+)", var.image), null)

  assume_by_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })

  own_region  = { StringEquals = { "aws:RequestedRegion" = var.region } }
  rds         = "arn:aws:rds:${var.region}:${var.account_id}"
  own_cluster = "${local.rds}:cluster:${var.db_cluster_identifier}"
  # A switchover names its target by ARN, but the call goes to the own region. That the other region's writer is not asked
  # to switch over is on purpose: a warden that is refused there fails over at once.
  peer_cluster   = "arn:aws:rds:${var.peer_region}:${var.account_id}:cluster:${var.peer_db_cluster_identifier}"
  global_cluster = "arn:aws:rds::${var.account_id}:global-cluster:${var.global_cluster_identifier}"

  execution_statements = concat(
    [
      {
        Sid      = "WriteOwnLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.this.arn}:*"]
      },
      {
        Sid      = "ReadSecret"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [var.db_secret_arn]
      },
      {
        Sid      = "DecryptSecret"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = [var.kms_key_arn]
      },
    ],
    local.ecr == null ? [] : [
      {
        Sid    = "PullImage"
        Effect = "Allow"
        Action = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = [
          "arn:aws:ecr:${local.ecr.region}:${local.ecr.account}:repository/${local.ecr.repository}",
        ]
      },
      {
        # AWS knows no narrower resource for this action.
        Sid      = "LogInToRegistry"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"]
      },
    ],
  )

  task_statements = [
    {
      # The deployment's record and its beacons, and no other item. Nobody but an operator creates or deletes the table.
      Sid       = "TermTable"
      Effect    = "Allow"
      Action    = ["dynamodb:GetItem", "dynamodb:PutItem"]
      Resource  = [for region in var.term_regions : "arn:aws:dynamodb:${region}:${var.account_id}:table/${var.term_table_name}"]
      Condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = [var.suffix, "${var.suffix}/beacon/*"] } }
    },
    {
      # AWS knows no narrower resource for these; they read, and only in the own region.
      Sid    = "Observe"
      Effect = "Allow"
      Action = [
        "application-autoscaling:DescribeScalableTargets",
        "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeTargetHealth",
        "rds:DescribeDBClusters", "rds:DescribeDBClusterSnapshots", "rds:DescribeGlobalClusters",
      ]
      Resource  = ["*"]
      Condition = local.own_region
    },
    {
      Sid       = "MoveTheWriter"
      Effect    = "Allow"
      Action    = ["rds:FailoverGlobalCluster", "rds:SwitchoverGlobalCluster"]
      Resource  = [local.global_cluster, local.own_cluster, local.peer_cluster]
      Condition = local.own_region
    },
    {
      Sid      = "ScaleThePaymentService"
      Effect   = "Allow"
      Action   = ["ecs:DescribeServices", "ecs:UpdateService"]
      Resource = ["arn:aws:ecs:${var.region}:${var.account_id}:service/${var.cluster_name}/${var.app_service_name}"]
    },
    {
      # Autoscaling's floor rises before the count does, or autoscaling would take the new tasks away again.
      Sid       = "RaiseTheFloor"
      Effect    = "Allow"
      Action    = ["application-autoscaling:RegisterScalableTarget"]
      Resource  = ["arn:aws:application-autoscaling:${var.region}:${var.account_id}:scalable-target/*"]
      Condition = { StringEquals = { "application-autoscaling:service-namespace" = "ecs" } }
    },
    {
      # While DNS drains: the weights of this site's own serving listener, and of no other.
      Sid      = "ForwardWhileDNSDrains"
      Effect   = "Allow"
      Action   = ["elasticloadbalancing:ModifyListener"]
      Resource = [var.listener_arn]
    },
    {
      Sid       = "KeepTheTail"
      Effect    = "Allow"
      Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
      Resource  = [aws_efs_file_system.export.arn]
      Condition = { StringEquals = { "elasticfilesystem:AccessPointArn" = aws_efs_access_point.export.arn } }
    },
  ]
}

resource "aws_iam_role" "execution" {
  name               = "holdfast-execution-${var.site}-${var.suffix}"
  assume_role_policy = local.assume_by_tasks
}

resource "aws_iam_role_policy" "execution" {
  name   = "start-tasks"
  role   = aws_iam_role.execution.name
  policy = jsonencode({ Version = "2012-10-17", Statement = local.execution_statements })
}

resource "aws_iam_role" "task" {
  name               = "holdfast-warden-${var.site}-${var.suffix}"
  assume_role_policy = local.assume_by_tasks
}

resource "aws_iam_role_policy" "task" {
  name   = "warden"
  role   = aws_iam_role.task.name
  policy = jsonencode({ Version = "2012-10-17", Statement = local.task_statements })
}
