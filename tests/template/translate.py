"""Prints template.yaml as the SAM translator hands it to CloudFormation.

The interpreter of `.venv-sam`, where the translator is, runs this file by its path.
"""

import json
import sys
from pathlib import Path

from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

#: The translator refuses folders; `sam package` uploads them first.
UPLOADED = "s3://bucket/key"


def main() -> None:
    template = yaml_parse(Path(sys.argv[1]).read_text("utf-8"))
    template["Globals"]["Function"]["CodeUri"] = UPLOADED
    for resource in template["Resources"].values():
        if "ContentUri" in resource.get("Properties", {}):
            resource["Properties"]["ContentUri"] = UPLOADED
    json.dump(Translator({}, Parser()).translate(template, {}), sys.stdout)


if __name__ == "__main__":
    main()
