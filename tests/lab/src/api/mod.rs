//! The lab's AWS API: a proxy in front of moto that records each call and can delay, throttle and fail it.

pub mod call;
pub mod errors;
pub mod faults;
pub mod hooks;
pub mod proxy;
#[cfg(test)]
mod proxy_tests;
pub mod record;
pub mod request;
pub mod s3;
pub mod sessions;
pub mod throttle;
pub mod upstream;

pub use call::{Call, Caller};
pub use faults::{Failing, Faults};
pub use hooks::{Hooks, NoHooks, Passage};
pub use proxy::{Entrance, Parties, Proxy};
pub use record::Record;
pub use sessions::Sessions;
pub use throttle::Throttle;
pub use upstream::Upstream;
