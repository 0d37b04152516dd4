"""The lab's account and Region."""

ACCOUNT = "123456789012"
OTHER_ACCOUNT = "210987654321"
REGION = "eu-west-1"
PARTITION = "aws"
