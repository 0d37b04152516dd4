"""Where moto strays from AWS, and our calls would notice: it is made to refuse what AWS refuses, and to answer what
AWS answers.

To add a patch:

1. Find the page of AWS's documentation that says what AWS does, and name it in the docstring beside the code.
2. Write a case in `cases/`: a generator that sets the scene, yields, and then asserts what AWS does.
   `cases/conftest.py` runs it against both servers, patched and not: it must pass on the first and fail on the second,
   after the `yield` (a scene that can't be set proves nothing). A case that moto passes says that its patch can go.
3. Put the patch into the file of its area, or a new one with an `install()`, and name that in `_AREAS`.

Patches replace methods of moto's response classes (what a call accepts and answers) or models (what is so), one idea
each; they are meant for the pinned version of moto only.
"""

from patches import (
    authorization,
    auto_scaling,
    calls,
    describe,
    iam_resources,
    instances,
    interfaces,
    launch_templates,
    routes,
    security_groups,
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
)


def install() -> None:
    """Puts all patches into the moto of this process."""
    for area in _AREAS:
        area.install()
