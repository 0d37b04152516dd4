//! `schema`: prints the JSON schema of a balancer file, which editors check the file with.

use templates::balancer::schema;

use crate::output;
use crate::output::failure::Failure;

pub fn run() -> Result<(), Failure> {
    output::file(&schema())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use boon::{Compiler, Schemas};
    use templates::balancer::schema;
    use toml::Table;

    /// What the schema refuses in a balancer file's text, if anything.
    pub(crate) fn refusal(file: &str) -> Option<String> {
        const NAME: &str = "https://schema.invalid/elbow.schema.json";
        let table: Table = file.parse().unwrap_or_else(|error| panic!("{error}\n{file}"));
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource(NAME, serde_json::from_str(&schema()).unwrap()).unwrap();
        let index = compiler.compile(NAME, &mut schemas).unwrap();
        let value = serde_json::to_value(table).unwrap();
        schemas.validate(&value, index).err().map(|error| error.to_string())
    }

    fn golden(case: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/goldens");
        let path = folder.join(case).join("balancer.toml");
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn every_golden_fits_the_schema() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/goldens");
        let cases = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = cases.map(|case| case.join("balancer.toml")).filter(|file| file.exists()).collect();
        assert!(files.len() > 7, "{files:?}");
        for file in files {
            assert_eq!(refusal(&std::fs::read_to_string(&file).unwrap()), None, "{}", file.display());
        }
    }

    #[test]
    fn an_unknown_key_a_missing_one_and_a_wrong_value_dont_fit() {
        let good = golden("blue-green");
        assert_eq!(refusal(&good), None);
        for (right, wrong) in [
            ("virtual_ips", "virtual_ip"),
            ("vpc           = \"vpc-0a1b2c3d\"\n", ""),
            ("port = 80\n", "port = \"80\"\n"),
            ("port = 80\n", "port = 70000\n"),
            ("forward_sticky = \"600s\"", "forward_sticky = 600"),
            ("forward_sticky = \"600s\"", "forward_sticky = \"600\""),
            ("[\"10.255.0.10\"]", "\"10.255.0.10\""),
            ("protocol = \"http\"", "protocol = \"https\""),
            ("health_check = { path", "health_check = { paths"),
            ("\"10.0.1.20:8080\"", "\"10.0.1.20:http\""),
            ("\"10.0.1.20:8080\"", "{ address = \"10.0.1.20:8080\", wait = 1 }"),
            ("{ cookie = \"ELBOW\"", "{ biscuit = \"ELBOW\""),
        ] {
            assert!(good.contains(right), "{right}");
            assert!(refusal(&good.replacen(right, wrong, 1)).is_some(), "{right} was replaced by {wrong}");
        }
    }
}
