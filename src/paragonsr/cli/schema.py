"""paragonsr schema"""

import json

import typer


def schema() -> None:
    """Print the JSON schema of configurations, for completion and validation of YAML in editors.

    Examples:

        paragonsr schema

        paragonsr schema > train.schema.json
    """
    from paragonsr.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=2))
