#!/usr/bin/env bash
# Runs `taxbreak-nsys gate` in CI, with what to do in the environment (action.yml, gitlab.yml). It needs no token and no
# secret, so it works for pull requests from forks.
set -euo pipefail

: "${TAXBREAK_REPORT:?names the report}"
if [ -n "${TAXBREAK_INSTALL:-}" ]; then
  python3 -m pip install --quiet "$TAXBREAK_INSTALL"
fi

arguments=("$TAXBREAK_REPORT" --junit taxbreak-gate.xml --force-overwrite)
while IFS= read -r rule; do
  if [ -n "${rule//[[:space:]]/}" ]; then arguments+=(--rule "$rule"); fi
done <<< "${TAXBREAK_RULES:-}"
if [ -n "${TAXBREAK_BASELINE:-}" ]; then
  if [ -e "$TAXBREAK_BASELINE" ] || [ "${TAXBREAK_UPDATE_BASELINE:-}" = true ]; then
    arguments+=(--baseline "$TAXBREAK_BASELINE")
  else
    # as on the first pull request, before the main branch has written a baseline
    echo "no baseline yet: $TAXBREAK_BASELINE does not exist; a run with update-baseline writes it" >&2
    arguments+=(--baseline "$TAXBREAK_BASELINE" --missing-baseline-ok)
  fi
fi
if [ "${TAXBREAK_UPDATE_BASELINE:-}" = true ]; then arguments+=(--update-baseline); fi
if [ "${GITHUB_ACTIONS:-}" = true ]; then arguments+=(--github); fi
read -r -a options <<< "${TAXBREAK_OPTIONS:-}"

code=0
${TAXBREAK_COMMAND:-taxbreak-nsys} gate "${arguments[@]}" "${options[@]}" || code=$?
case $code in 0) verdict=held ;; 1) verdict=broken ;; *) verdict="not judged" ;; esac
if [ -n "${GITHUB_OUTPUT:-}" ]; then
  printf 'exit-code=%s\nverdict=%s\n' "$code" "$verdict" >> "$GITHUB_OUTPUT"
fi
exit "$code"
