"""Patches for differences between moto and AWS that Elbow's calls would notice.

To add a patch:

1. Find the page of AWS's documentation that describes the behaviour, and name it in the docstring beside the code.
2. Write a case in `cases/`: a generator that sets up, yields, and then asserts AWS's behaviour. `cases/conftest.py`
   runs it against a patched and an unpatched server: it must pass on the first and fail on the second after the
   `yield`. If unpatched moto passes a case, remove its patch.
3. Put the patch into the file of its area, or into a new file with an `install()` that `_AREAS` lists.

Each patch replaces a method of moto's response classes (the API) or models (the state). They are written for the pinned
version of moto.
"""

from patches import (
    authorization,
    auto_scaling,
    calls,
    connections,
    describe,
    iam_resources,
    instances,
    interfaces,
    launch_templates,
    routes,
    s3,
    security_groups,
    simulation,
    tags,
    termination,
)

_AREAS = (
    authorization,
    auto_scaling,
    calls,
    tags,
    describe,
    instances,
    termination,
    interfaces,
    routes,
    security_groups,
    launch_templates,
    iam_resources,
    connections,
    simulation,
    s3,
)


def install() -> None:
    """Installs all patches in this process."""
    for area in _AREAS:
        area.install()
