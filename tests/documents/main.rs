//! The documents show what is there and what works. Needs `make setup`, and root for the lab.

mod commands;
mod links;
mod pages;
mod settings;
mod shown;
