# Elbow's nodes in an Auto Scaling group, as docs/auto-scaling.md makes them with the AWS CLI.
# NOT RUN: written from the AWS provider's documentation (version 5).
#
# Before `terraform apply`, and again after each change of web.toml:
#   launcher render trust-policy web.toml > trust-policy.json
#   launcher render policy web.toml > policy.json
#   launcher render user-data web.toml --gzip > user-data.gz
# Terraform doesn't manage the virtual IPs' routes: the nodes make them, and they remain after `terraform destroy`. A route
# table with inline `route {}` blocks deletes these routes at each apply: use separate aws_route resources.
# Admit this security group in the targets' security groups.

variable "name" { default = "web" }
variable "region" { default = "eu-west-1" }
variable "vpc" {}                                       # vpc-…
variable "subnets" { type = list(string) }              # in two availability zones
variable "clients" { type = list(string) }              # that may connect, as CIDRs
variable "ports" { default = [80] }                     # of web.toml's listeners
variable "nodes" { default = 2 }
variable "image" {}                                     # ami-…, or resolve:ssm:…
variable "instance_type" { default = "t3.small" }

locals {
  role = "elbow-${var.region}-${var.name}"
  tags = {
    Name             = "elbow-${var.name}"
    "elbow:balancer" = var.name
    "elbow:vpc"      = var.vpc
  }
}

resource "aws_iam_role" "nodes" {
  name               = local.role
  assume_role_policy = file("trust-policy.json")
}

resource "aws_iam_role_policy" "nodes" {
  name   = local.role
  role   = aws_iam_role.nodes.id
  policy = file("policy.json")
}

resource "aws_iam_instance_profile" "nodes" {
  name = local.role
  role = aws_iam_role.nodes.name
}

resource "aws_security_group" "nodes" {
  name        = "elbow-${var.name}"
  description = "nodes of ${var.name}"
  vpc_id      = var.vpc

  ingress {
    description = "VRRP among the nodes"
    protocol    = "112"
    from_port   = 0
    to_port     = 0
    self        = true
  }

  ingress {
    description = "health checks and metrics among the nodes"
    protocol    = "tcp"
    from_port   = 9110
    to_port     = 9110
    self        = true
  }

  ingress {
    description = "VXLAN tunnels among the nodes"
    protocol    = "udp"
    from_port   = 4789
    to_port     = 4789
    self        = true
  }

  ingress {
    description = "HAProxy's stick tables among the nodes; needed for sticky by app_cookie or source only"
    protocol    = "tcp"
    from_port   = 9112
    to_port     = 9112
    self        = true
  }

  dynamic "ingress" {
    for_each = toset(var.ports)
    content {
      protocol    = "tcp"
      from_port   = ingress.value
      to_port     = ingress.value
      cidr_blocks = var.clients
    }
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_launch_template" "nodes" {
  name                   = "elbow-${var.name}"
  image_id               = var.image
  instance_type          = var.instance_type
  user_data              = filebase64("user-data.gz")
  vpc_security_group_ids = [aws_security_group.nodes.id]
  update_default_version = true

  iam_instance_profile {
    name = aws_iam_instance_profile.nodes.name
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "network-interface", "volume"]
    content {
      resource_type = tag_specifications.value
      tags          = local.tags
    }
  }

  # Leave the tags off the template itself: the launcher would treat the template as its own.
}

resource "aws_autoscaling_group" "nodes" {
  name                = "elbow-${var.name}"
  min_size            = var.nodes
  max_size            = 2 * var.nodes # new nodes start before old ones stop
  vpc_zone_identifier = var.subnets
  health_check_type   = "EC2"
  suspended_processes = ["AZRebalance"]
  force_delete        = true

  launch_template {
    id      = aws_launch_template.nodes.id
    version = aws_launch_template.nodes.default_version
  }

  default_instance_warmup = 0
  instance_maintenance_policy {
    min_healthy_percentage = 100
    max_healthy_percentage = 200
  }

  initial_lifecycle_hook {
    name                 = "standby"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
    heartbeat_timeout    = 1800
    default_result       = "ABANDON"
  }

  initial_lifecycle_hook {
    name                 = "handover"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    heartbeat_timeout    = 120 # drain_timeout plus a minute
    default_result       = "CONTINUE"
  }

  # The nodes' role may complete the hooks of a group with these tags only.
  dynamic "tag" {
    for_each = local.tags
    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  # A node needs its permissions as soon as it boots.
  depends_on = [aws_iam_role_policy.nodes]
}
