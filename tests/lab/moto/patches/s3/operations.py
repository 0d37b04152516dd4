"""The operations that the lab's S3 supports, and the permissions that each needs.

Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; S3 User Guide, "Required
permissions for Amazon S3 API operations".
"""

import xml.etree.ElementTree as ET

from constants import ACCOUNT, PARTITION
from patches.checks import Check
from patches.s3.errors import Refused, unsupported
from patches.s3.request import Asked

# Parameters that select an operation; others, such as `list-type`, belong to it.
_SELECTING = (
    *("delete", "encryption", "location", "ownershipControls", "publicAccessBlock", "tagging"),
    *("uploadId", "uploads"),
)
# Parts of S3 that the lab doesn't have, as parameters and as headers.
_MISSING = {
    *("accelerate", "acl", "analytics", "attributes", "cors", "intelligent-tiering", "inventory", "legal-hold"),
    *("lifecycle", "logging", "metrics", "notification", "object-lock", "policy", "policyStatus", "replication"),
    *("requestPayment", "restore", "retention", "select", "torrent", "versionId", "versioning", "versions", "website"),
}
_MISSING_HEADERS = ("x-amz-acl", "x-amz-copy-source", "x-amz-tagging", "x-amz-server-side-encryption-customer-key")

# What a request is about, its method and its selecting parameter: the operation and its action.
_OPERATIONS = {
    ("", "GET", ""): ("ListBuckets", "s3:ListAllMyBuckets"),
    ("bucket", "GET", ""): ("ListObjects", "s3:ListBucket"),
    ("bucket", "HEAD", ""): ("HeadBucket", "s3:ListBucket"),
    ("bucket", "PUT", ""): ("CreateBucket", "s3:CreateBucket"),
    ("bucket", "DELETE", ""): ("DeleteBucket", "s3:DeleteBucket"),
    ("bucket", "POST", "delete"): ("DeleteObjects", "s3:DeleteObject"),
    ("bucket", "GET", "location"): ("GetBucketLocation", "s3:GetBucketLocation"),
    ("bucket", "GET", "encryption"): ("GetBucketEncryption", "s3:GetEncryptionConfiguration"),
    ("bucket", "PUT", "encryption"): ("PutBucketEncryption", "s3:PutEncryptionConfiguration"),
    ("bucket", "GET", "ownershipControls"): ("GetBucketOwnershipControls", "s3:GetBucketOwnershipControls"),
    ("bucket", "PUT", "ownershipControls"): ("PutBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
    ("bucket", "GET", "publicAccessBlock"): ("GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock"),
    ("bucket", "PUT", "publicAccessBlock"): ("PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    ("bucket", "GET", "tagging"): ("GetBucketTagging", "s3:GetBucketTagging"),
    ("bucket", "PUT", "tagging"): ("PutBucketTagging", "s3:PutBucketTagging"),
    ("bucket", "DELETE", "tagging"): ("DeleteBucketTagging", "s3:PutBucketTagging"),
    ("bucket", "GET", "uploads"): ("ListMultipartUploads", "s3:ListBucketMultipartUploads"),
    ("object", "GET", ""): ("GetObject", "s3:GetObject"),
    ("object", "HEAD", ""): ("HeadObject", "s3:GetObject"),
    ("object", "PUT", ""): ("PutObject", "s3:PutObject"),
    ("object", "DELETE", ""): ("DeleteObject", "s3:DeleteObject"),
    ("object", "POST", "uploads"): ("CreateMultipartUpload", "s3:PutObject"),
    ("object", "PUT", "uploadId"): ("UploadPart", "s3:PutObject"),
    ("object", "POST", "uploadId"): ("CompleteMultipartUpload", "s3:PutObject"),
    ("object", "DELETE", "uploadId"): ("AbortMultipartUpload", "s3:AbortMultipartUpload"),
}


def of(asked: Asked) -> tuple[str, str]:
    """The operation and its action."""
    missing = [name for name in asked.query if name in _MISSING]
    missing += [name for name in _MISSING_HEADERS if name in asked.headers]
    if missing:
        raise unsupported(", ".join(missing))
    about = "object" if asked.key else "bucket" if asked.bucket else ""
    selecting = next((name for name in _SELECTING if name in asked.query), "")
    found = _OPERATIONS.get((about, asked.method, selecting))
    if found is None:
        raise unsupported(f"{asked.method} {asked.target}")
    return found


def arn(bucket: str, key: str = "") -> str:
    """The ARN of a bucket or an object."""
    return f"arn:{PARTITION}:s3:::{bucket}/{key}" if key else f"arn:{PARTITION}:s3:::{bucket}"


def checks(asked: Asked, operation: str, action: str) -> list[Check]:
    """The checks of an operation, on resources of the caller's account. DeleteObjects has one for each object."""
    context = {name: [ACCOUNT] for name in ("aws:resourceaccount", "s3:resourceaccount")}
    if operation == "ListObjects":
        context |= {f"s3:{name}": [asked.query[name]] for name in ("delimiter", "prefix") if name in asked.query}
    if operation == "ListBuckets":
        return [Check(action, "*", context)]
    if operation == "CreateBucket" and "x-amz-object-ownership" in asked.headers:
        # S3 API reference, "CreateBucket": this header needs a second permission.
        actions = (action, "s3:PutBucketOwnershipControls")
        return [Check(each, arn(asked.bucket), context) for each in actions]
    keys = _keys(asked.body) if operation == "DeleteObjects" else [asked.key]
    return [Check(action, arn(asked.bucket, key), context) for key in keys]


def _keys(body: bytes) -> list[str]:
    try:
        document = ET.fromstring(body)
    except ET.ParseError:
        raise _malformed_xml() from None
    keys = [element.text or "" for element in document.iterfind("{*}Object/{*}Key")]
    if not keys:
        raise _malformed_xml()
    return keys


def _malformed_xml() -> Refused:
    message = "The XML you provided was not well-formed or did not validate against our published schema"
    return Refused(400, "MalformedXML", message)
