"""Holds a description of an API against the OpenAPI standard, and its examples against its own schemas.

Reads the description from the file that is named, prints one line for each thing that is wrong with it, and ends with 1
if there is any.
"""

import json
import sys

from jsonschema import FormatChecker
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
MISSING = object()


def names(schema):
    """The name of the schema that this one stands for, if it stands for one."""
    ref = schema.get("$ref", "")
    return ref.removeprefix("#/components/schemas/") if ref else None


def is_described(schema):
    """Whether a field says what it means, itself or beside the schema that it may hold."""
    parts = [schema, *schema.get("oneOf", []), *schema.get("anyOf", []), *schema.get("allOf", [])]
    return any(part.get("description") for part in parts)


class Description:
    """A description and what is wrong with it."""

    def __init__(self, document):
        self.document = document
        self.schemas = document["components"]["schemas"]
        self.wrong = []
        resource = Resource(contents=document, specification=DRAFT202012)
        self.registry = Registry().with_resource("", resource)

    def check(self):
        """Looks at everything."""
        for error in OpenAPIV31SpecValidator(self.document).iter_errors():
            self.wrong.append(f"standard: {'/'.join(map(str, error.absolute_path))}: {error.message}")
        for name, schema in sorted(self.schemas.items()):
            self.check_described(name, schema)
            self.check_example(name, schema)
        for path, item in sorted(self.document["paths"].items()):
            for method, operation in item.items():
                if method in METHODS:
                    self.check_operation(f"{method.upper()} {path}", operation)
        return self.wrong

    def check_described(self, where, schema):
        """Whether every field says what it means."""
        if not schema.get("description"):
            self.wrong.append(f"{where}: has no description")
        for part in [schema, *schema.get("allOf", [])]:
            for field, of in part.get("properties", {}).items():
                if not is_described(of):
                    self.wrong.append(f"{where}.{field}: has no description")

    def check_example(self, where, schema):
        """Whether the example of a schema, whole or put together of those of its fields, is one."""
        example = self.example(where, schema)
        if example is not MISSING:
            self.validate(where, schema, example)

    def example(self, where, schema):
        """The example of a schema; a field without any is wrong."""
        if "example" in schema:
            return schema["example"]
        if schema.get("examples"):
            return schema["examples"][0]
        if "default" in schema:
            return schema["default"]
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        if name := names(schema):
            return self.example(name, self.schemas[name])
        for key in ("oneOf", "anyOf"):
            if key in schema:
                concrete = [one for one in schema[key] if one.get("type") != "null"]
                return self.example(where, concrete[0])
        if "allOf" in schema:
            parts = [self.example(where, part) for part in schema["allOf"]]
            return MISSING if MISSING in parts else {key: of for part in parts for key, of in part.items()}
        kinds = schema.get("type")
        kinds = [kinds] if isinstance(kinds, str) else kinds or []
        if "object" in kinds and "properties" in schema:
            fields = {field: self.example(f"{where}.{field}", of) for field, of in schema["properties"].items()}
            return MISSING if MISSING in fields.values() else fields
        if "object" in kinds and isinstance(schema.get("additionalProperties"), dict):
            value = self.example(where, schema["additionalProperties"])
            return MISSING if value is MISSING else {"any": value}
        if "array" in kinds:
            item = self.example(where, schema.get("items", {}))
            return MISSING if item is MISSING else [item]
        if "boolean" in kinds:
            return True
        if "object" in kinds or not kinds:
            # Free, so that anything is an example.
            return {}
        self.wrong.append(f"{where}: has no example")
        return MISSING

    def check_operation(self, where, operation):
        """Whether an operation and its parameters say what they mean, with examples that are ones."""
        for field in ("operationId", "summary", "tags"):
            if not operation.get(field):
                self.wrong.append(f"{where}: has no {field}")
        for parameter in operation.get("parameters", []):
            at = f"{where} {parameter['in']} {parameter['name']}"
            if not parameter.get("description"):
                self.wrong.append(f"{at}: has no description")
            schema = parameter["schema"]
            example = parameter["example"] if "example" in parameter else self.example(at, schema)
            if example is not MISSING:
                self.validate(at, schema, example)
        bodies = [("body", operation.get("requestBody", {}))]
        bodies += [(status, of) for status, of in operation["responses"].items()]
        for what, body in bodies:
            for kind, content in body.get("content", {}).items():
                schema = content.get("schema", {})
                if "example" in content:
                    self.validate(f"{where} {what} {kind}", schema, content["example"])
                if what == "body" and not names(schema):
                    self.check_described(f"{where} {what}", schema)
                    self.check_example(f"{where} {what}", schema)

    def validate(self, where, schema, example):
        """Whether an example is one of a schema."""
        # Within the whole description, so that references lead somewhere.
        whole = {**schema, "components": self.document["components"]}
        checker = OAS31Validator(whole, registry=self.registry, format_checker=FormatChecker())
        for error in checker.iter_errors(example):
            self.wrong.append(f"{where}: the example is none: {error.message[:200]}")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        wrong = Description(json.load(file)).check()
    print("\n".join(dict.fromkeys(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
