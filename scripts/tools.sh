#!/usr/bin/env bash
# Makes sure that the programs are there that tests start and Go cannot build: promtool, kubectl, curl and chromium.
# `make test` calls it first. With everything in place it only looks, and says nothing.
#
#   scripts/tools.sh            all of them
#   scripts/tools.sh curl       only these
#
# promtool and kubectl are unpacked from Debian's packages into .cache/tools: nothing is installed, so no service starts,
# and no root is needed. curl and chromium are installed with apt-get, which takes root. What cannot be had is named,
# with the command that installs it.
#
#   ENCLAVEPOOL_TOOLS=required   fail when something is missing (the default where CI is set; else its tests are skipped)
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/.cache/tools

say() { printf 'tools: %s\n' "$*" >&2; }

# have NAME: is there such a program, on the PATH or unpacked here?
have() { command -v "$1" >/dev/null || [[ -x $tools/$1 ]]; }

# package NAME prints the Debian package that has the program.
package() {
	case $1 in
	promtool) echo prometheus ;;
	kubectl) echo kubernetes-client ;;
	curl | chromium) echo "$1" ;;
	*)
		say "nobody here needs a program called $1"
		return 1
		;;
	esac
}

is_root() { [[ $(id -u) -eq 0 ]]; }

updated=no
update_once() { # update_once refreshes the package lists at most once a run; only root can.
	[[ $updated == no ]] || return 0
	updated=yes
	is_root || return 0
	apt-get update -qq >/dev/null || say "the package lists could not be refreshed; trying with those at hand"
}

# unpack NAME takes one program out of its package. Two runs at once may both come here; either's copy will do.
unpack() {
	local fresh options=()
	mkdir -p "$tools"
	fresh=$(mktemp -d "$tools/new.XXXXXX")
	# As root apt would drop to a user that may not be able to write here, and say so at length.
	! is_root || options=(-o APT::Sandbox::User=root)
	if (cd "$fresh" && apt-get -qq "${options[@]}" download "$(package "$1")" >/dev/null && dpkg -x ./*.deb .) &&
		mv -f "$fresh/usr/bin/$1" "$tools/$1"; then
		rm -rf "$fresh"
		return
	fi
	rm -rf "$fresh"
	return 1
}

# install NAME puts its package on the machine.
install() {
	is_root || return 1
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$(package "$1")" >/dev/null
}

# get NAME: in the way that suits the program.
get() {
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
	update_once
	say "getting $1"
	case $1 in
	promtool | kubectl) unpack "$1" ;;
	*) install "$1" ;;
	esac
}

[[ $# -gt 0 ]] || set -- promtool kubectl curl chromium
missing=()
for name in "$@"; do
	package "$name" >/dev/null
	have "$name" || get "$name" || missing+=("$name")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

packages=()
for name in "${missing[@]}"; do packages+=("$(package "$name")"); done
say "missing: ${missing[*]}"
say "on Debian: sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages[*]}"
if [[ ${ENCLAVEPOOL_TOOLS:-} == required || -n ${CI:-} ]]; then
	exit 1
fi
say "the tests that need them are skipped"
