"""S3: authentication, bodies, owners of buckets, and unsupported operations. Pages are named in patches/s3."""

import datetime
import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

from cases.scene import Scene, refused
from cases.signing import Answer, Signer, base64_sha256, send

KEY = "agent/0a1b"
HERE = {"LocationConstraint": "eu-west-1"}
_SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
_numbers = itertools.count(1)


def _bucket(server: Any) -> str:
    """A new bucket with one object."""
    name = f"elbow-case-{next(_numbers)}"
    s3 = server.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=HERE)
    s3.put_object(Bucket=name, Key=KEY, Body=b"agent")
    return name


def _operator(server: Any) -> dict[str, Any]:
    operator = server.seed["operator"]
    return {
        "AccessKeyId": operator["access_key_id"],
        "SecretAccessKey": operator["secret_access_key"],
        "Token": None,
    }


def _node(server: Any, seconds: int = 3600) -> dict[str, str]:
    """A node's credentials, as IMDS gives them; its role may do everything."""
    s = Scene(server)
    instance, _ = s.as_node({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    return server.post("role-credentials", {"instance": instance["InstanceId"], "seconds": seconds})


def _is(answer: Answer, status: int, code: str | None = None) -> None:
    assert (answer.status, answer.code) == (status, code), answer.body


def _put_in_chunks(signer: Signer, bucket: str, body: bytes, **headers: str) -> Answer:
    given = {
        "content_encoding": "aws-chunked",
        "x_amz_decoded_content_length": str(len(body)),
        "x_amz_trailer": "x-amz-checksum-sha256",
        **headers,
    }
    return signer.send("PUT", bucket, KEY, body, content=_SIGNED_CHUNKS, **given)


def test_a_request_signed_by_hand_gets_an_object(patched: Any) -> None:
    bucket = _bucket(patched)
    for credentials in (_operator(patched), _node(patched)):
        signer = Signer(patched, credentials)
        answer = signer.send("GET", bucket, KEY, x_amz_expected_bucket_owner=patched.seed["account"])
        _is(answer, 200)
        assert answer.body == b"agent"


def test_an_object_of_the_agents_size_passes_both_ways(patched: Any) -> None:
    bucket, body = _bucket(patched), b"0123456789abcdef" * (62 << 16)
    signer = Signer(patched, _node(patched))
    _is(signer.send("PUT", bucket, KEY, body, x_amz_checksum_sha256=base64_sha256(body)), 200)
    assert signer.send("GET", bucket, KEY).body == body
    head = signer.send("HEAD", bucket, KEY, x_amz_checksum_mode="ENABLED")
    assert (head.status, head.headers["content-length"]) == (200, str(len(body)))


def test_an_object_comes_in_signed_chunks(patched: Any) -> None:
    bucket, body = _bucket(patched), b"0123456789" * 100
    signer = Signer(patched, _node(patched))
    _is(_put_in_chunks(signer, bucket, body), 200)
    answer = signer.send("GET", bucket, KEY)
    assert answer.body == body
    assert "aws-chunked" not in answer.headers.get("content-encoding", "")


def test_wrong_credentials_are_refused(patched: Any) -> None:
    bucket, node = _bucket(patched), _node(patched)
    for changed, status, code in (
        ({"SecretAccessKey": "wrong"}, 403, "SignatureDoesNotMatch"),
        ({"AccessKeyId": "AKIAAAAAAAAAAAAAAAAA"}, 403, "InvalidAccessKeyId"),
        ({"Token": None}, 403, "InvalidAccessKeyId"),
        ({"Token": "wrong"}, 400, "InvalidToken"),
    ):
        _is(Signer(patched, {**node, **changed}).send("GET", bucket, KEY), status, code)
    _is(Signer(patched, node, service="sts").send("GET", bucket, KEY), 400, "AuthorizationHeaderMalformed")


def test_a_signature_holds_for_its_host_only(patched: Any) -> None:
    bucket, other = _bucket(patched), _bucket(patched)
    signer = Signer(patched, _operator(patched))
    moved = signer.send("GET", bucket, KEY, unsigned={"host": f"{other}.s3.eu-west-1.amazonaws.com"})
    _is(moved, 403, "SignatureDoesNotMatch")


def test_an_object_is_created_once_with_if_none_match(patched: Any) -> None:
    bucket, signer = _bucket(patched), Signer(patched, _operator(patched))
    _is(signer.send("PUT", bucket, KEY, b"other", if_none_match="*"), 412, "PreconditionFailed")
    _is(signer.send("PUT", bucket, "new", b"other", if_none_match="*"), 200)


def test_a_bucket_is_created_once(patched: Any) -> None:
    bucket, s3 = _bucket(patched), patched.client("s3")
    with refused("BucketAlreadyOwnedByYou", 409):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=HERE)
    with refused("IllegalLocationConstraintException"):
        s3.create_bucket(Bucket=f"{bucket}-other")


def test_a_missing_bucket_is_not_found(patched: Any) -> None:
    s3 = patched.client("s3")
    with refused("NoSuchBucket", 404):
        s3.list_objects_v2(Bucket="elbow-missing")
    with refused("404", 404):
        s3.head_bucket(Bucket="elbow-missing")
    with refused("NoSuchBucket", 404):
        s3.get_object(Bucket="elbow-missing", Key=KEY, ExpectedBucketOwner=patched.seed["account"])


def an_unsigned_header_is_refused(server: Any) -> Iterator[None]:
    """Signature: all `x-amz-*` headers must be signed."""
    bucket, signer = _bucket(server), Signer(server, _operator(server))
    yield
    answer = signer.send("GET", bucket, KEY, unsigned={"x-amz-expected-bucket-owner": server.seed["account"]})
    _is(answer, 403, "AccessDenied")
    assert b"<HeadersNotSigned>x-amz-expected-bucket-owner</HeadersNotSigned>" in answer.body


def a_wrong_clock_is_refused(server: Any) -> Iterator[None]:
    """ "Error responses": RequestTimeTooSkewed."""
    bucket = _bucket(server)
    yield
    for minutes in (-16, 16):
        ahead = datetime.timedelta(minutes=minutes)
        _is(Signer(server, _operator(server), ahead=ahead).send("GET", bucket, KEY), 403, "RequestTimeTooSkewed")
    _is(Signer(server, _operator(server), ahead=datetime.timedelta(minutes=14)).send("GET", bucket, KEY), 200)


def another_region_in_the_signature_is_refused(server: Any) -> Iterator[None]:
    """ "Error responses": AuthorizationHeaderMalformed."""
    bucket = _bucket(server)
    yield
    answer = Signer(server, _operator(server), region="us-east-1").send("GET", bucket, KEY)
    _is(answer, 400, "AuthorizationHeaderMalformed")


def expired_credentials_are_refused_by_s3(server: Any) -> Iterator[None]:
    """ "Error responses": ExpiredToken."""
    bucket, expired = _bucket(server), _node(server, seconds=0)
    yield
    _is(Signer(server, expired).send("GET", bucket, KEY), 400, "ExpiredToken")


def an_anonymous_request_is_refused(server: Any) -> Iterator[None]:
    """ "Error responses": AccessDenied; a missing bucket is NoSuchBucket."""
    bucket = _bucket(server)
    yield
    for host, path in (("localhost", f"/{bucket}/{KEY}"), (f"{bucket}.s3.eu-west-1.amazonaws.com", f"/{KEY}")):
        _is(send(server, "GET", path, b"", {"host": host}), 403, "AccessDenied")
    _is(send(server, "PUT", f"/{bucket}/new", b"", {}), 403, "AccessDenied")
    _is(send(server, "GET", "/elbow-missing/new", b"", {}), 404, "NoSuchBucket")
    for path in ("/", "/?Action=DescribeVpcs"):
        _is(send(server, "GET", path, b"", {}), 403, "AccessDenied")
    _is(send(server, "POST", f"/{bucket}", b"Action=DescribeVpcs", {}), 403, "AccessDenied")


def a_body_must_match_its_signed_digest(server: Any) -> Iterator[None]:
    """ "Error responses": XAmzContentSHA256Mismatch."""
    bucket, signer = _bucket(server), Signer(server, _operator(server))
    wrong = hashlib.sha256(b"another").hexdigest()
    yield
    _is(signer.send("PUT", bucket, KEY, b"changed", content=wrong), 400, "XAmzContentSHA256Mismatch")
    _is(signer.send("PUT", bucket, KEY, b"changed", content="abc"), 400, "InvalidArgument")
    assert signer.send("GET", bucket, KEY).body == b"agent"


def a_body_must_match_its_checksum(server: Any) -> Iterator[None]:
    """ "Checking object integrity in Amazon S3"; "Error responses": BadDigest, InvalidRequest."""
    bucket, signer = _bucket(server), Signer(server, _operator(server))
    yield
    for header, value, code in (
        ("x_amz_checksum_sha256", base64_sha256(b"another"), "BadDigest"),
        ("x_amz_checksum_crc32", "AAAAAA==", "BadDigest"),
        ("content_md5", "AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"),
        ("content_md5", "AAAA", "InvalidDigest"),
        ("x_amz_checksum_sha256", "?", "InvalidRequest"),
    ):
        _is(signer.send("PUT", bucket, KEY, b"changed", **{header: value}), 400, code)
    _is(signer.send("PUT", bucket, KEY, b"changed", x_amz_checksum_crc32c="AAAAAA=="), 501, "NotImplemented")
    assert signer.send("GET", bucket, KEY).body == b"agent"


def a_chunked_body_must_be_whole(server: Any) -> Iterator[None]:
    """ "Signature calculations ...: Transferring payload in multiple chunks": each chunk and the trailer are signed."""
    bucket, signer = _bucket(server), Signer(server, _operator(server))
    changed = Signer(server, _operator(server), tampered=True)
    yield
    _is(_put_in_chunks(changed, bucket, b"changed"), 403, "SignatureDoesNotMatch")
    _is(_put_in_chunks(signer, bucket, b"0123456789", x_amz_decoded_content_length="9"), 400, "IncompleteBody")
    _is(
        _put_in_chunks(signer, bucket, b"0123456789", x_amz_trailer="x-amz-checksum-crc32"),
        400,
        "MalformedTrailerError",
    )
    assert signer.send("GET", bucket, KEY).body == b"agent"


def the_expected_owner_must_own_the_bucket(server: Any) -> Iterator[None]:
    """ "Verifying bucket ownership with bucket owner condition": 403."""
    bucket, s3 = _bucket(server), server.client("s3")
    s3.get_object(Bucket=bucket, Key=KEY, ExpectedBucketOwner=server.seed["account"])
    yield
    other = {"Bucket": bucket, "ExpectedBucketOwner": "210987654321"}
    for call in (s3.get_object, s3.put_object, s3.delete_object):
        with refused("AccessDenied", 403):
            call(**other, Key=KEY)
    with refused("403", 403):
        s3.head_bucket(**other)
    with refused("InvalidBucketOwnerAWSAccountID"):
        s3.get_object(Bucket=bucket, Key=KEY, ExpectedBucketOwner="elbow")


def another_accounts_bucket_is_out_of_reach(server: Any) -> Iterator[None]:
    """CreateBucket: BucketAlreadyExists; without a bucket policy, other calls are AccessDenied."""
    name, s3 = f"elbow-foreign-{next(_numbers)}", server.client("s3")
    owner = server.post("foreign-bucket", {"name": name})["account"]
    with refused("BucketAlreadyExists", 409):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration=HERE)
    yield
    for expected in (owner, server.seed["account"]):
        with refused("AccessDenied", 403):
            s3.put_object(Bucket=name, Key=KEY, Body=b"agent", ExpectedBucketOwner=expected)
    with refused("403", 403):
        s3.head_bucket(Bucket=name)


def a_bucket_has_a_valid_name(server: Any) -> Iterator[None]:
    """ "General purpose bucket naming rules"."""
    s3 = server.client("s3")
    yield
    for name in ("Elbow-Bucket", "-elbow"):
        with refused("InvalidBucketName"):
            s3.create_bucket(Bucket=name, CreateBucketConfiguration=HERE)


def what_the_lab_lacks_is_refused(server: Any) -> Iterator[None]:
    """Bucket policies, ACLs, copies and presigned URLs aren't ignored silently."""
    bucket, s3 = _bucket(server), server.client("s3")
    yield
    for call in (
        lambda: s3.put_bucket_policy(Bucket=bucket, Policy="{}"),
        lambda: s3.put_object(Bucket=bucket, Key=KEY, ACL="public-read"),
        lambda: s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/{KEY}"),
        lambda: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}),
    ):
        with refused("NotImplemented", 501, says="The lab's S3 doesn't support this"):
            call()
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": KEY})
    _is(send(server, "GET", presigned.removeprefix(server.url), b"", {}), 403, "AccessDenied")


def test_an_object_comes_in_parts(patched: Any) -> None:
    bucket, s3 = _bucket(patched), patched.client("s3")
    named = {"Bucket": bucket, "Key": "parts"}
    bodies = [b"x" * (5 << 20), b"y"]
    upload = {**named, "UploadId": s3.create_multipart_upload(**named)["UploadId"]}
    parts = [
        {"ETag": s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"], "PartNumber": number}
        for number, body in enumerate(bodies, 1)
    ]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(**named)["Body"].read() == b"".join(bodies)
