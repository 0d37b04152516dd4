//! Checks README.md and docs/: the commands, settings, files and headings that they name exist, and the commands that they
//! show run in the lab. Needs `make setup`, and root for the lab.

mod commands;
mod links;
mod pages;
mod settings;
mod shown;
