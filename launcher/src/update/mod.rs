//! Changing a balancer that runs. [`against`] says what stands against it, [`next`] decides who is told what, [`replace`]
//! which node is replaced, [`difference`] what changes at all, and [`known`] is what they go by; all are pure. [`defaults`]
//! lists the versions that Elbow made the default. [`lease`] keeps two operators from doing it at once. [`roll`] carries it out, with [`tell`] where nodes change as they run and
//! [`exchange`] where they can't; [`enlist`] has an Auto Scaling group take them in or let them go, as [`convert`] decides.
//! What nodes may do is widened first and narrowed last, standbys go before active nodes, and what a node refuses goes no
//! further.

pub mod against;
pub mod back;
pub mod convert;
pub mod defaults;
pub mod difference;
pub mod enlist;
pub mod exchange;
pub mod goal;
pub mod hold;
pub mod known;
pub mod lease;
pub mod next;
pub mod replace;
pub mod roll;
pub mod settings;
pub mod steps;
pub mod tell;
