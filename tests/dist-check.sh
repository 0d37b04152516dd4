#!/usr/bin/env bash
# Checks the tarballs in target/dist: what they hold, the oldest glibc that each program needs, that the programs of both
# architectures run, the sizes, and how soon `launcher --help` answers. Then a newcomer uses this machine's tarball.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly GLIBC=2.17 HELP_MS=30

fail() { echo "dist-check: $*" >&2; exit 1; }

unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
(cd target/dist && sha256sum --check --quiet SHA256SUMS)
for tarball in target/dist/elbow-*.tar.gz; do tar --extract --gzip --file "$tarball" --directory "$unpacked"; done

# Runs a program of this architecture, or of the other one in qemu with that one's glibc.
run() {
    local arch=$1
    shift
    if [[ $arch == "$(uname -m)" ]]; then "$@"; else "qemu-$arch" -L "/usr/$arch-linux-gnu" "$@"; fi
}

# The program is of this architecture, links dynamically to glibc only, and needs no newer one.
check_program() {
    local arch=$1 program=$2 needs newest
    readelf --file-header "$program" | grep -iE "Machine: .*${arch/_/[-_]}" >/dev/null || fail "$program isn't for $arch"
    needs=$(readelf --dynamic "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^(lib(c|m|dl|rt|pthread)\.so|ld-linux)' || :)
    [[ -z $needs ]] || fail "$program needs other libraries than glibc: ${needs//$'\n'/ }"
    newest=$(readelf --version-info --wide "$program" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n1)
    [[ $(printf '%s\n' "GLIBC_$GLIBC" "$newest" | sort -V | tail -n1) == "GLIBC_$GLIBC" ]] || fail "$program needs $newest, newer than $GLIBC"
    printf '  %-14s %5.1f MB  needs %s\n' "${program##*/}" "$(stat -c %s "$program")e-6" "$newest"
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)
for arch in x86_64 aarch64; do
    folder=$unpacked/elbow-$version-$arch
    printf '%s  %.1f MB\n' "${folder##*/}.tar.gz" "$(stat -c %s "target/dist/${folder##*/}.tar.gz")e-6"
    check_program "$arch" "$folder/launcher"
    for node in x86_64 aarch64; do
        check_program "$node" "$folder/agent-$node"
        [[ $(run "$node" "$folder/agent-$node" --help) == *takeover* ]] || fail "agent-$node --help prints no commands"
        [[ $(run "$node" "$folder/agent-$node" --version) == "agent $version" ]] || fail "agent-$node isn't version $version"
    done
    [[ $(run "$arch" "$folder/launcher" --version) == "launcher $version" ]] || fail "the launcher isn't version $version"
    # Parses a file, and takes the digests of the agents beside it.
    cp templates/goldens/bucket/balancer.toml "$unpacked"
    run "$arch" "$folder/launcher" validate "$unpacked/balancer.toml" >"$unpacked/said" 2>&1 || fail "validate: $(cat "$unpacked/said")"
    run "$arch" "$folder/launcher" render install "$unpacked/balancer.toml" >"$unpacked/$arch.sh"
    for node in x86_64 aarch64; do
        grep -q "$(sha256sum "$folder/agent-$node" | cut -d' ' -f1)" "$unpacked/$arch.sh" || fail "the install script of $arch lacks agent-$node"
    done
    for shell in launcher.bash launcher.fish _launcher; do
        grep -q handover "$folder/completions/$shell" || fail "completions/$shell has no handover"
    done
    for file in README.md ARCHITECTURE.md CHANGELOG.md LICENSE LICENSE-APACHE LICENSE-MIT LICENSE-THIRD-PARTY docs/getting-started.md; do
        [[ -s $folder/$file ]] || fail "${folder##*/} has no $file"
    done
    links=$(cd "$folder" && grep --recursive --only-matching --with-filename --perl-regexp '\]\(\K(?!https?:)[^)#]+' --include='*.md') ||
        fail "the documents have no links"
    while IFS=: read -r page link; do
        [[ -e $folder/$(dirname "$page")/$link ]] || fail "${folder##*/}/$page links to $link, which isn't there"
    done <<<"$links"
done
cmp "$unpacked/x86_64.sh" "$unpacked/aarch64.sh" || fail "the two launchers render different install scripts"
bash -c 'source "$1" && complete -p launcher' - "$unpacked/elbow-$version-x86_64/completions/launcher.bash" >/dev/null ||
    fail "bash can't read its completions"

folder=$unpacked/elbow-$version-$(uname -m)
for _ in {1..20}; do
    from=$EPOCHREALTIME
    "$folder/launcher" --help >/dev/null
    echo $((${EPOCHREALTIME/[.,]/} - ${from/[.,]/}))
done | sort -n >"$unpacked/times"
awk -v most="$HELP_MS" '{ us[NR] = $1 } END {
    printf "launcher --help: %.1f ms (median of %d)\n", us[int((NR + 1) / 2)] / 1000, NR
    exit us[int((NR + 1) / 2)] > most * 1000 }' "$unpacked/times" || fail "launcher --help takes longer than $HELP_MS ms"

tests/newcomer.sh "$folder"
