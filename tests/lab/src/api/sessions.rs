//! Which instance was given which credentials, so that a call signed with them is known to be its.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Access keys that IMDS handed out. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    instances: Arc<Mutex<HashMap<String, String>>>,
}

impl Sessions {
    /// Remembers that this access key was given to this instance.
    pub fn record(&self, access_key: &str, instance: &str) {
        self.known().insert(access_key.to_owned(), instance.to_owned());
    }

    /// The instance that this access key was given to.
    pub fn instance(&self, access_key: &str) -> Option<String> {
        self.known().get(access_key).cloned()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.instances.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
