//! The JSON schema of a balancer's file, for editors. It follows from the types; a key's description is its comment.
//! What depends on other keys or on AWS isn't in it: `launcher validate` and `create` check that.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::Balancer;

/// The schema, as JSON of draft 7. Editors' TOML extensions know little more than draft 4 (Taplo, "Developing Schemas").
pub fn schema() -> String {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Balancer>().to_value();
    simplify(&mut schema);
    schema["title"] = json!("Elbow balancer");
    serde_json::to_string_pretty(&schema).expect("a schema has only string keys")
}

/// Removes `null`, which TOML hasn't, and writes `const`, which draft 4 hasn't, as `enum`.
fn simplify(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(simplify),
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(forms)) = object.get_mut("anyOf") {
                forms.retain(|form| *form != json!({ "type": "null" }));
                if forms.len() == 1 {
                    let form = forms.remove(0);
                    object.remove("anyOf");
                    object.insert("allOf".to_owned(), json!([form]));
                }
            }
            if object.get("const").is_some_and(Value::is_string) {
                let word = object.remove("const");
                object.insert("enum".to_owned(), json!([word]));
            }
            object.values_mut().for_each(simplify);
        }
        _ => {}
    }
}

/// The schema of a network's address: the type itself is another crate's.
pub(super) struct Cidr;

impl JsonSchema for Cidr {
    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^[0-9]+(\.[0-9]+){3}/[0-9]+$";
        json_schema!({ "type": "string", "pattern": pattern, "description": "A network, such as \"10.0.0.0/16\"." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each table's keys, with their schemas.
    fn keys<'a>(schema: &'a Value, found: &mut Vec<(&'a str, &'a Value)>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            found.extend(properties.iter().map(|(key, schema)| (key.as_str(), schema)));
        }
        let inner = schema.as_object().into_iter().flat_map(|object| object.values());
        inner.chain(schema.as_array().into_iter().flatten()).for_each(|inner| keys(inner, found));
    }

    #[test]
    fn every_key_has_a_description_without_rusts_links_and_no_null() {
        let text = schema();
        let schema: Value = serde_json::from_str(&text).unwrap();
        let mut found = Vec::new();
        keys(&schema, &mut found);
        assert!(found.len() > 60, "{} keys", found.len());
        for (key, schema) in found {
            let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            assert!(!description.is_empty() && !description.contains("[`"), "{key}: {schema}");
        }
        for word in ["\"null\"", "\"const\""] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }

    #[test]
    fn words_are_listed_and_keys_keep_the_order_of_the_file() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let keys: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(keys[..4], ["name", "vpc", "subnets", "virtual_ips"]);
        let text = schema.to_string();
        for word in ["instances", "auto-scaling", "all", "fail-open", "http"] {
            assert!(text.contains(&format!("\"enum\":[\"{word}\"]")), "{word} in {text}");
        }
    }
}
