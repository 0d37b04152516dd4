"""EC2's errors by code (EC2 API reference, "Error codes for the Amazon EC2 API")."""

from moto.ec2.exceptions import EC2ClientError


def invalid_value(message: str) -> EC2ClientError:
    """A parameter has an invalid value."""
    return EC2ClientError("InvalidParameterValue", message)


def missing(parameter: str) -> EC2ClientError:
    """A required parameter is missing."""
    return EC2ClientError("MissingParameter", f"The request must contain the parameter {parameter}")


def dependency(resource: str) -> EC2ClientError:
    """A resource can't be deleted while another uses it."""
    return EC2ClientError("DependencyViolation", f"resource {resource} has a dependent object")


def of(code: str, message: str) -> EC2ClientError:
    """Any other error."""
    return EC2ClientError(code, message)
