#!/usr/bin/env bash
# Builds the released programs into target/dist. They link statically to all but glibc, and need 2.17 (2012): one file runs
# on Amazon Linux 2 and 2023, Debian 11+ and Ubuntu 20.04+. zig is the linker, as it knows old versions of glibc.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=target/dist-tools
if [[ ! -e $tools/.done || tests/dist-requirements.txt -nt $tools/.done ]]; then
    /usr/bin/python3 -m venv --clear "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check -r tests/dist-requirements.txt
    touch "$tools/.done"
fi

target=$(uname -m)-unknown-linux-gnu
for program in agent launcher; do
    PATH=$PWD/$tools/bin:$PATH cargo zigbuild --locked --profile dist --target "$target.2.17" -p "$program" --bin "$program"
done

mkdir -p target/dist
for program in agent launcher; do
    install -m 0755 "target/$target/dist/$program" "target/dist/$program"
    glibc=$(grep -aoE 'GLIBC_[0-9.]+' "target/dist/$program" | sort -uV | tail -n 1)
    printf '%-10s %9d bytes  needs %s  sha256 %s\n' "$program" "$(stat -c %s "target/dist/$program")" "$glibc" \
        "$(sha256sum "target/dist/$program" | cut -d' ' -f1)"
done
