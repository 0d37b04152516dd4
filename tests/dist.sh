#!/usr/bin/env bash
# Builds the release into target/dist: a tarball for x86_64 and one for aarch64, each beside the folder that it holds, and
# SHA256SUMS. A folder has the launcher of its architecture and the agents of both, as nodes may have either.
# The programs link statically to all but glibc, and need 2.17 (2012): one file runs on Amazon Linux 2 and 2023, Debian 11+
# and Ubuntu 20.04+. zig is the linker, as it knows old versions of glibc and both architectures.
set -euo pipefail
cd "$(dirname "$0")/.."

here=$(uname -m)
case $here in
    x86_64) other=aarch64 foreign=arm64 ;;
    aarch64) other=x86_64 foreign=amd64 ;;
    *) echo "dist: $here: build on x86_64 or aarch64" >&2; exit 1 ;;
esac

tools=target/dist-tools
if [[ ! -e $tools/.done || tests/dist-requirements.txt -nt $tools/.done ]]; then
    /usr/bin/python3 -m venv --clear "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check -r tests/dist-requirements.txt
    touch "$tools/.done"
fi
# Debian's Rust builds both: its standard library for another architecture is a package.
export PATH=$PWD/$tools/bin:/usr/bin:$PATH

# Fetches that package, of the version of Debian's rustc, with lists of its own: the machine keeps its one architecture.
std=target/dist-std
version=$(dpkg-query -Wf '${Version}' rustc-web)
if [[ $(cat "$std/.version" 2>/dev/null) != "$version" ]]; then
    rm -rf "$std"
    mkdir -p "$std/lists/partial" "$std/archives/partial"
    apt=(apt-get -qq -o "APT::Architectures=$(dpkg --print-architecture),$foreign" -o "APT::Sandbox::User=$(id -un)"
        -o "Dir::State::Lists=$PWD/$std/lists" -o "Dir::Cache=$PWD/$std")
    "${apt[@]}" update
    (cd "$std" && "${apt[@]}" download "libstd-rust-web-dev:$foreign=$version") ||
        { echo "dist: no libstd-rust-web-dev:$foreign of version $version: upgrade rustc-web and cargo-web" >&2; exit 1; }
    dpkg -x "$std"/libstd-rust-web-dev_*.deb "$std"
    rm -rf "$std"/*.deb "$std/lists"
    echo "$version" >"$std/.version"
fi

# The programs don't name the folders in which they were built.
crates=${CARGO_HOME:-$HOME/.cargo}/registry/src
paths="--remap-path-prefix=$crates=registry --remap-path-prefix=$PWD=elbow"
for arch in "$here" "$other"; do
    target=$arch-unknown-linux-gnu
    flags=$paths
    [[ $arch == "$here" ]] || flags+=" --sysroot=$PWD/$std/usr"
    variable=CARGO_TARGET_${target^^}_RUSTFLAGS
    for program in agent launcher; do
        env "${variable//-/_}=$flags" cargo zigbuild --locked --profile dist --target "$target.2.17" -p "$program" --bin "$program"
    done
done

# The licences of the crates in the programs: one list, and each text once, with its crates.
third_party() {
    declare -A users=() texts=()
    local crate number licence file sum
    while read -r crate number licence; do
        printf '%s %s: %s\n' "$crate" "$number" "$licence"
        for file in "$crates"/*/"$crate-$number"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE}*; do
            [[ -f $file ]] || continue
            sum=$(sha256sum "$file" | cut -d' ' -f1)
            users[$sum]+=" $crate" texts[$sum]=$file
        done
    done < <(for arch in x86_64 aarch64; do
        cargo tree --locked --edges normal --no-dedupe --prefix none --target "$arch-unknown-linux-gnu" -p agent -p launcher \
            --format '{p} {l}'
    done | grep -v -e '(/' -e '^$' | sed -E 's/^(\S+) v(\S+)( \(proc-macro\))?/\1 \2/' | LC_ALL=C sort -u)
    for sum in $(printf '%s\n' "${!texts[@]}" | LC_ALL=C sort); do
        printf '\n%s\nLicence of:%s\n\n' "$(printf '=%.0s' {1..100})" "${users[$sum]}"
        cat "${texts[$sum]}"
    done
}

elbow=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)
built() { echo "target/$2-unknown-linux-gnu/dist/$1"; }
dist=target/dist
# The folder is Cargo's, too.
rm -rf "$dist"/elbow-* "$dist/SHA256SUMS"
for arch in x86_64 aarch64; do
    folder=$dist/elbow-$elbow-$arch
    install -d "$folder/completions"
    install -m 0755 "$(built launcher "$arch")" "$folder/launcher"
    for node in x86_64 aarch64; do install -m 0755 "$(built agent "$node")" "$folder/agent-$node"; done
    "$(built launcher "$here")" completions bash >"$folder/completions/launcher.bash"
    "$(built launcher "$here")" completions fish >"$folder/completions/launcher.fish"
    "$(built launcher "$here")" completions zsh >"$folder/completions/_launcher"
    git ls-files -z docs | xargs -0 cp --parents -t "$folder"
    cp README.md ARCHITECTURE.md CHANGELOG.md LICENSE LICENSE-APACHE LICENSE-MIT "$folder"
    # Links to what the folder lacks become plain text.
    find "$folder" -name '*.md' -exec sed --in-place -E 's#\[([^]]+)\]\((\.\./)?(tests/|CONTRIBUTING\.md)[^)]*\)#\1#g' {} +
    third_party >"$folder/LICENSE-THIRD-PARTY"
    # The same commit makes the same tarball.
    tar --create --directory "$dist" --sort=name --mtime="@$(git log -1 --format=%ct)" --owner=0 --group=0 --numeric-owner \
        --mode=u=rwX,go=rX "${folder##*/}" | gzip --best --no-name >"$folder.tar.gz"
done
(cd "$dist" && sha256sum elbow-*.tar.gz >SHA256SUMS && cat SHA256SUMS)
