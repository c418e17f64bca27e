//! What the rules say of one client.

use super::network::Network;
use super::permission::{PatternFault, Permission};
use crate::broker::peer::Transport;

/// Who may connect under a name, and what it may do then. What is not listed is not allowed: by default anybody may
/// connect, and do nothing but hear `.broker/warn`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it is for AccessRules::client"]
pub struct ClientAccess {
    /// `None`: anybody.
    origins: Option<Origins>,
    pub(super) message: Permission,
    pub(super) publish: Permission,
    pub(super) subscribe: Permission,
    pub(super) broadcast: Permission,
}

/// Who may connect: only who is listed here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Origins {
    is_any_host: bool,
    is_any_user: bool,
    hosts: Vec<Network>,
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl ClientAccess {
    /// Anybody may connect, and do everything.
    pub fn everything() -> Self {
        Self::default()
            .message(Permission::Any)
            .publish(Permission::Any)
            .subscribe(Permission::Any)
            .broadcast(Permission::Any)
    }

    /// TCP clients from these networks may connect. Once hosts, users or groups are named, nobody else may.
    pub fn hosts(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.origins().hosts.extend(networks);
        self
    }

    /// TCP clients from everywhere may connect.
    pub fn any_host(mut self) -> Self {
        self.origins().is_any_host = true;
        self
    }

    /// Processes of these users (uid) may connect by UNIX sockets.
    pub fn users(mut self, users: impl IntoIterator<Item = u32>) -> Self {
        self.origins().users.extend(users);
        self
    }

    /// Processes of all users may connect by UNIX sockets.
    pub fn any_user(mut self) -> Self {
        self.origins().is_any_user = true;
        self
    }

    /// Processes whose primary group (gid) is one of these may connect by UNIX sockets. Their supplementary groups do
    /// not count.
    pub fn groups(mut self, groups: impl IntoIterator<Item = u32>) -> Self {
        self.origins().groups.extend(groups);
        self
    }

    /// To whom it may send messages, calls among them: name masks. Who gets a message may answer it without this
    /// right.
    pub fn message(mut self, masks: Permission) -> Self {
        self.message = masks;
        self
    }

    /// What it may publish: topic filters. A publication for one client needs the right to send
    /// [messages](ClientAccess::message) to that client as well.
    pub fn publish(mut self, filters: Permission) -> Self {
        self.publish = filters;
        self
    }

    /// To what it may subscribe: topic filters. A subscription is allowed if all that it can match is.
    pub fn subscribe(mut self, filters: Permission) -> Self {
        self.subscribe = filters;
        self
    }

    /// To whom it may broadcast: name masks. A mask is allowed if all names that it can match are.
    pub fn broadcast(mut self, masks: Permission) -> Self {
        self.broadcast = masks;
        self
    }

    fn origins(&mut self) -> &mut Origins {
        self.origins.get_or_insert_default()
    }

    /// Whether a client may connect from there.
    pub(super) fn allows_connection(&self, transport: Transport) -> bool {
        let Some(origins) = &self.origins else { return true };
        match transport {
            Transport::Internal => true,
            Transport::Tcp(address) => {
                origins.is_any_host || origins.hosts.iter().any(|network| network.contains(address.ip()))
            }
            Transport::Unix(identity) => {
                origins.is_any_user
                    || identity
                        .is_some_and(|peer| origins.users.contains(&peer.uid) || origins.groups.contains(&peer.gid))
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), PatternFault> {
        self.message.check_masks()?;
        self.broadcast.check_masks()?;
        self.publish.check_filters()?;
        self.subscribe.check_filters()
    }
}
