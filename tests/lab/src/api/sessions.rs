//! Maps access keys to the instances that got them from IMDS, so that a signed call shows its instance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Access keys that IMDS issued. Clones share the map.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    instances: Arc<Mutex<HashMap<String, String>>>,
}

impl Sessions {
    /// Stores the instance of an access key.
    pub fn record(&self, access_key: &str, instance: &str) {
        self.known().insert(access_key.to_owned(), instance.to_owned());
    }

    pub fn instance(&self, access_key: &str) -> Option<String> {
        self.known().get(access_key).cloned()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.instances.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
