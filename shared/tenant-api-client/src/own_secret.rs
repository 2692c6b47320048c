//! The internal secret of a tenant's own instance.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use model::TenantId;
use model::secret::Secret;
use sha2::Sha256;

/// Keeps these values apart from any other use of the region's secret.
const PURPOSE: &str = "tenantry/tenant-api/internal-secret/v1";

/// What a caller presents to the tenant's own instance, derived from the region's internal secret: whoever has it, the
/// tenant's namespace among them, learns nothing of the region's or of another tenant's. The same for the same input; never
/// stored with the control plane.
pub fn own_secret(of_the_region: &Secret, tenant: TenantId) -> Secret {
    // HMAC-SHA-256 as a key derivation function (NIST SP 800-108, one block): any length of key is legal.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(of_the_region.expose().as_bytes()) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(format!("{PURPOSE}\0{tenant}").as_bytes());
    Secret::new(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenant_and_every_region_has_its_own() {
        let [one, other]: [TenantId; 2] =
            ["550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440001"]
                .map(|id| id.parse().unwrap());
        let (region, next) = (Secret::new("of-the-region"), Secret::new("its-next"));
        let secret = own_secret(&region, one);
        assert!(secret.matches(own_secret(&region, one).expose()));
        assert!(!secret.matches(own_secret(&region, other).expose()));
        assert!(!secret.matches(own_secret(&next, one).expose()));
        // What `openssl dgst -sha256 -hmac of-the-region` makes of the purpose, a zero byte and the tenant's id: it must not
        // change, or every instance refuses its callers.
        assert_eq!(secret.expose(), "kbuNAr-S9HwUsOtjVzvbhJl_vpigGf1NSMTcZZSO-z4");
    }
}
