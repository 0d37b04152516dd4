//! Changing a balancer that runs. [`known`] is what is to be and what was found, [`against`] says what stands against it,
//! and [`steps`] plans: by [`next`] where nodes change as they run; where they can't, by [`replace`], which [`foretell`] plays
//! forward, or by [`refresh`] where an Auto Scaling group replaces its own. All of these are pure. [`roll`] carries the plan
//! out, with [`tell`], [`exchange`] and [`follow`]; [`back`] is what comes of a refusal. [`hold`] and [`lease`] keep two
//! operators from doing it at once. [`defaults`] lists the versions that Elbow made the default, [`difference`] says how files
//! change.

pub mod against;
pub mod back;
pub mod defaults;
pub mod difference;
pub mod exchange;
pub mod follow;
pub mod foretell;
pub mod hold;
pub mod known;
pub mod lease;
pub mod next;
pub mod refresh;
pub mod replace;
pub mod roll;
pub mod settings;
pub mod steps;
pub mod tell;
