//! Renders every file that Elbow writes from templates/templates/: user-data, the agent's files and IAM policies. All
//! end in a newline: HAProxy refuses a last line without one.

mod haproxy;
mod install;
mod keepalived;
mod launch_template;
mod metadata;
mod operator_policy;
mod path_watch;
mod policies;
mod second_chance;
mod static_files;
mod user_data;

use askama::Template;

pub use haproxy::{HaproxyNode, OPEN, PEERS_SECTION, haproxy_cfg};
pub use install::install_script;
pub use keepalived::{KeepalivedNode, instance, keepalived_conf, token};
pub use launch_template::launch_template;
pub use metadata::{SCRIPT_USER, metadata_nft};
pub use operator_policy::operator_policy;
pub use path_watch::{path_watch_nft, stand_in};
pub use policies::{permission_policy, permission_policy_of_both, trust_policy};
pub use second_chance::{AROUND, HOPS, NAMES, SecondChance, TUNNELS, greeted, second_chance_nft, tunnel, tunnel_name};
pub use static_files::{agent_unit, haproxy_unit, keepalived_unit, logrotate_conf, rsyslog_conf, sysctl_conf};
pub use user_data::{TooBig, USER_DATA_LIMIT, Unreadable, maker, read_back, user_data, user_data_gzip};

/// Renders a template. This can't fail, as no template calls anything that fails. askama drops a template's last
/// newline; this puts it back.
fn render(template: &impl Template) -> String {
    let mut text = template.render().expect("templates only write to memory");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
