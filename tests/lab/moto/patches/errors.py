"""EC2's errors by their codes, as listed in the EC2 API reference, "Error codes for the Amazon EC2 API"."""

from moto.ec2.exceptions import EC2ClientError


def invalid_value(message: str) -> EC2ClientError:
    """A parameter has a value that isn't possible."""
    return EC2ClientError("InvalidParameterValue", message)


def missing(parameter: str) -> EC2ClientError:
    """A parameter is needed and isn't there."""
    return EC2ClientError("MissingParameter", f"The request must contain the parameter {parameter}")


def dependency(resource: str) -> EC2ClientError:
    """Something can't go while something else uses it."""
    return EC2ClientError("DependencyViolation", f"resource {resource} has a dependent object")


def of(code: str, message: str) -> EC2ClientError:
    """Any other."""
    return EC2ClientError(code, message)
