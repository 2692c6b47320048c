//! "Already exists": what an apply that was killed has made and its state does not know.

use super::progress::Diagnostic;

/// Something that is there and not in the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Existing {
    /// The resource that would be it.
    pub address: String,
    /// Its id, as the provider's import takes it.
    pub id: String,
}

/// What the errors say is there already. Providers built on the plug-in SDK word it alike: `a resource with the ID "…"
/// already exists - to be managed via Terraform this resource needs to be imported into the State`.
pub(super) fn existing(errors: &[Diagnostic]) -> Vec<Existing> {
    let mut found: Vec<Existing> = Vec::new();
    for error in errors {
        let id = error.text.split_once("with the ID \"").and_then(|(_, rest)| rest.split_once('"'));
        let (Some(address), Some((id, rest))) = (&error.address, id) else { continue };
        if rest.trim_start().starts_with("already exists") && found.iter().all(|one| one.address != *address)
        {
            found.push(Existing { address: address.clone(), id: id.to_owned() });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(address: Option<&str>, text: &str) -> Diagnostic {
        Diagnostic { address: address.map(str::to_owned), text: text.to_owned() }
    }

    #[test]
    fn only_what_is_said_to_exist_and_has_an_address_is_taken_over() {
        let id =
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.DBforPostgreSQL/flexibleServers/psql-1";
        let azure = format!(
            "A resource with the ID \"{id}\" already exists - to be managed via Terraform this resource needs to be imported \
             into the State. Please see the resource documentation for \"azurerm_postgresql_flexible_server\" for more."
        );
        let server = "azurerm_postgresql_flexible_server.tenant";
        let errors = [
            error(Some(server), &azure),
            error(Some(server), &azure),
            error(None, &azure),
            error(Some("a.b"), "the resource with the ID \"x\" cannot be read"),
            error(Some("a.c"), "already exists"),
        ];
        assert_eq!(existing(&errors), [Existing { address: server.into(), id: id.into() }]);
    }
}
