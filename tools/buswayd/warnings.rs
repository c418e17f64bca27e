//! What is correct in a configuration file, and hardly meant.

use busway::broker::AccessRules;

use crate::config::ConfigFile;
use crate::filters;

impl ConfigFile {
    /// One line each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let path = self.path.display();
        let locks_out = self.config.access.as_ref().is_some_and(AccessRules::is_empty);
        let words = "the section [access] lists nobody, so nobody may connect; \
                     list clients as [access.\"NAME\"], or remove it to allow everything";
        let nobody = locks_out.then(|| format!("{path}: {words}"));
        nobody.into_iter().chain(self.odd_filters().map(|words| format!("{path}: {words}"))).collect()
    }

    /// The topics of rules that look like mistakes.
    fn odd_filters(&self) -> impl Iterator<Item = String> {
        let clients = self.table.get("access").and_then(toml::Value::as_table).into_iter().flatten();
        clients.flat_map(|(client, rights)| {
            ["publish", "subscribe"].into_iter().flat_map(move |right| {
                let filters = rights.get(right).and_then(toml::Value::as_array).into_iter().flatten();
                filters.filter_map(toml::Value::as_str).filter_map(move |filter| {
                    let meaning = filters::odd_meaning(filter)?;
                    Some(format!("[access.{client:?}] {right} {filter:?}: {meaning}"))
                })
            })
        })
    }
}
