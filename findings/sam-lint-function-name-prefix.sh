#!/usr/bin/env bash
# `sam validate --lint` accepts a reference to any name that begins with a function's name.
#
# Versions   aws-sam-cli 1.170.0, cfn-lint 1.58.0, aws-sam-translator 1.115.0
# Input      A template with a function `Deliver` and a queue `DeliverQueue`. DependsOn, !Ref, !GetAtt
#            and !Sub spell the queue `DeliverQueeu`, which does not exist.
# Expected   The linter reports the name, as it does when the function is called `Post`.
# What       "is a valid SAM Template", exit code 0. SAM makes resources such as DeliverRole for a
# happens    function, and the linter takes every name that begins with `Deliver` for one of them.
#            The translator makes DeliverRole only and leaves the wrong name in its output.
# Why it     In a serverless backend it is usual to name a queue, a log group or an alarm after its
# matters    function, so the check is missing where such names are most used: a misspelled name first
#            fails in CloudFormation. A test of the translator's output closes the gap: every Ref,
#            GetAtt, Sub and DependsOn must name a resource or a parameter that is there.
#
# Seen       function Deliver: sam validate --lint ends with 0
#            function Post: sam validate --lint ends with 1 and names DeliverQueeu
#            resources that SAM makes of the first: Deliver, DeliverQueue, DeliverRole
# Takes one to four minutes, most of it to install SAM CLI. Needs Python 3.10 or later.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

changed() {
    echo "CHANGED: $1"
    exit 1
}

# No settings or credentials of the user's own, and no telemetry.
clean() {
    env -i PATH="$PATH" HOME="$folder" SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-central-1 "$@"
}

template() {
    cat <<YAML
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  $1:
    Type: AWS::Serverless::Function
    DependsOn: DeliverQueeu
    Properties:
      PackageType: Image
      ImageUri: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/deliver:1
      Environment:
        Variables:
          QUEUE_URL: !Ref DeliverQueeu
          QUEUE_ARN: !GetAtt DeliverQueeu.Arn
          QUEUE_TEXT: !Sub "queue \${DeliverQueeu}"
  DeliverQueue:
    Type: AWS::SQS::Queue
YAML
}

lint() {
    template "$1" >"$folder/$1.yaml"
    clean "$folder/venv/bin/sam" validate --lint --template "$folder/$1.yaml" >"$folder/$1.txt" 2>&1
}

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    aws-sam-cli==1.170.0 cfn-lint==1.58.0 aws-sam-translator==1.115.0

lint Deliver || changed "the linter reports a wrong name that begins with the function's: $(cat "$folder/Deliver.txt")"
echo "function Deliver: sam validate --lint ends with 0"

if lint Post; then changed "the linter does not report the wrong name of another function either"; fi
grep -q "'DeliverQueeu'" "$folder/Post.txt" || changed "the linter reports something else: $(cat "$folder/Post.txt")"
echo "function Post: sam validate --lint ends with 1 and names DeliverQueeu"

cat >"$folder/translate.py" <<'PYTHON'
import json
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    def load(self):
        return {}


made = transform(yaml_parse(Path(sys.argv[1]).read_text()), {}, NoManagedPolicies())["Resources"]
print("resources that SAM makes of the first:", ", ".join(sorted(made)))
dangling = json.dumps(made).count("DeliverQueeu")
if sorted(made) != ["Deliver", "DeliverQueue", "DeliverRole"] or dangling != 4:
    sys.exit(f"CHANGED: the translator makes something else: {json.dumps(made)}")
PYTHON
clean "$folder/venv/bin/python" "$folder/translate.py" "$folder/Deliver.yaml"
echo "As described."
