//! The AWS API as the lab shows it: a proxy before moto that records every call and can slow, throttle and fail it.

pub mod upstream;
