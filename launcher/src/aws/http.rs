//! Builds the HTTP clients, with and without the environment's proxy, and the certificates that they trust.

use std::ffi::OsStr;

use anyhow::Context;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::output::failure::Failure;

/// The system's certificates, and those of `AWS_CA_BUNDLE`.
pub(super) fn tls() -> Result<TlsContext, Failure> {
    let mut trust = TrustStore::default();
    if let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        let pem =
            bundle(&path).map_err(|why| Failure::bad_input(format!("AWS_CA_BUNDLE {}: {why}", path.display())))?;
        trust = trust.with_pem_certificate(pem);
    }
    Ok(TlsContext::builder().with_trust_store(trust).build().context("setting up TLS")?)
}

fn bundle(path: &OsStr) -> Result<Vec<u8>, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    check(&pem).map(|()| pem)
}

/// The SDK panics on an invalid certificate, and ignores a file without any.
fn check(pem: &[u8]) -> Result<(), String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect();
    if certificates.is_empty() {
        return Err("contains no certificate: use a PEM file with -----BEGIN CERTIFICATE-----".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        let added = certificate.map_err(|error| error.to_string());
        let added = added.and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|why| format!("certificate number {} can't be read: {why}", index + 1))?;
    }
    Ok(())
}

/// Without a proxy: for link-local hosts.
pub(super) fn direct(tls: &TlsContext) -> SharedHttpClient {
    client(tls, ProxyConfig::disabled())
}

/// Through `HTTPS_PROXY` or `HTTP_PROXY`, unless `NO_PROXY` has the host.
pub(super) fn proxied(tls: &TlsContext) -> SharedHttpClient {
    client(tls, ProxyConfig::from_env())
}

fn client(tls: &TlsContext, proxy: ProxyConfig) -> SharedHttpClient {
    let tls = tls.clone();
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls.clone()).build()
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    fn block(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn each_invalid_certificate_is_named() {
        for (text, why) in [
            (String::new(), "contains no certificate"),
            ("not PEM at all".to_owned(), "contains no certificate"),
            (block("bm8gY2VydGlmaWNhdGU="), "certificate number 1 can't be read"),
            (block("!!!"), "certificate number 1 can't be read"),
        ] {
            let said = check(text.as_bytes()).expect_err(&text);
            assert!(said.contains(why) && !said.contains('\n'), "{said}");
        }
    }
}
