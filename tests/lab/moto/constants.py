"""What the lab's account and Region are called. Everything in the lab happens here; moto would take any."""

ACCOUNT = "123456789012"
OTHER_ACCOUNT = "210987654321"
REGION = "eu-west-1"
PARTITION = "aws"
