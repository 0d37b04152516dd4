//! A client for the instance metadata service, version 2 only: it fetches a session token, then sends GETs with it
//! (AWS: "Use the Instance Metadata Service to access instance metadata").

mod facts;
#[cfg(test)]
mod server;

#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::server::Server;
}

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tokio::sync::Mutex;

pub use facts::{Facts, facts, tags};

/// The address of IMDS on every EC2 instance.
pub const ADDRESS: &str = "http://169.254.169.254";

/// The lifetime of a session token: AWS's maximum, six hours.
const TOKEN_SECONDS: u64 = 21_600;

/// Why a value couldn't be read from IMDS.
#[derive(Debug, thiserror::Error)]
pub enum ImdsError {
    /// No answer.
    #[error("asking IMDS for {path}")]
    Unreachable {
        /// The requested path.
        path: String,
        /// Why there was no answer.
        source: reqwest::Error,
    },
    /// A status other than 200 and 404.
    #[error("IMDS answered {status} to {path}")]
    Refused {
        /// The requested path.
        path: String,
        status: StatusCode,
    },
    /// A value that every instance has is missing or unreadable.
    #[error("IMDS has no usable {path}")]
    Missing {
        /// The requested path.
        path: String,
    },
}

/// A client that keeps its session token.
#[derive(Debug)]
pub struct Imds {
    http: reqwest::Client,
    address: String,
    token: Mutex<Option<Token>>,
}

#[derive(Debug, Clone)]
struct Token {
    value: String,
    renew: Instant,
}

impl Imds {
    /// A client for the IMDS at `address` ([`ADDRESS`]).
    pub fn at(address: &str, http: reqwest::Client) -> Self {
        Imds { http, address: address.to_owned(), token: Mutex::default() }
    }

    /// The text at `/latest/<path>`, or `None` if IMDS answers 404.
    pub async fn get(&self, path: &str) -> Result<Option<String>, ImdsError> {
        let (status, text) = self.ask(path).await?;
        let (status, text) = match status {
            // A token becomes invalid when the instance stops or the clock jumps. A second 401 is an error.
            StatusCode::UNAUTHORIZED => {
                *self.token.lock().await = None;
                self.ask(path).await?
            }
            _ => (status, text),
        };
        match status {
            StatusCode::OK => Ok(Some(text)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(ImdsError::Refused { path: path.to_owned(), status }),
        }
    }

    /// The text at `/latest/<path>`, which every instance has.
    pub async fn need(&self, path: &str) -> Result<String, ImdsError> {
        self.get(path).await?.ok_or_else(|| ImdsError::Missing { path: path.to_owned() })
    }

    async fn ask(&self, path: &str) -> Result<(StatusCode, String), ImdsError> {
        let token = self.token().await?;
        let unreachable = |source| ImdsError::Unreachable { path: path.to_owned(), source };
        let url = format!("{}/latest/{path}", self.address);
        let answer = self.http.get(url).header("X-aws-ec2-metadata-token", token).send().await.map_err(unreachable)?;
        let status = answer.status();
        Ok((status, answer.text().await.map_err(unreachable)?))
    }

    async fn token(&self) -> Result<String, ImdsError> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.renew) {
            return Ok(token.value.clone());
        }
        let path = "api/token";
        let unreachable = |source| ImdsError::Unreachable { path: path.to_owned(), source };
        let answer = self
            .http
            .put(format!("{}/latest/{path}", self.address))
            .header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS)
            .send()
            .await
            .map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(ImdsError::Refused { path: path.to_owned(), status: answer.status() });
        }
        let value = answer.text().await.map_err(unreachable)?;
        let renew = Instant::now() + Duration::from_secs(TOKEN_SECONDS / 2);
        Ok(kept.insert(Token { value, renew }).value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::server::Server;

    #[tokio::test]
    async fn a_token_is_fetched_once_and_sent_with_every_request() {
        let server = Server::start(&[("meta-data/instance-id", "i-1"), ("meta-data/mac", "0a:00")]).await;
        let imds = server.client();
        assert_eq!(imds.get("meta-data/instance-id").await.unwrap().as_deref(), Some("i-1"));
        assert_eq!(imds.get("meta-data/mac").await.unwrap().as_deref(), Some("0a:00"));
        assert_eq!(server.tokens_given(), 1);
    }

    #[tokio::test]
    async fn a_missing_path_is_none_and_not_an_error() {
        let server = Server::start(&[]).await;
        assert_eq!(server.client().get("meta-data/spot/instance-action").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_token_that_is_no_longer_taken_is_replaced() {
        let server = Server::start(&[("meta-data/instance-id", "i-1")]).await;
        let imds = server.client();
        imds.need("meta-data/instance-id").await.unwrap();
        server.revoke_tokens();
        assert_eq!(imds.need("meta-data/instance-id").await.unwrap(), "i-1");
        assert_eq!(server.tokens_given(), 2);
    }

    #[tokio::test]
    async fn a_refusal_names_the_path() {
        let server = Server::start(&[]).await;
        server.refuse_tokens();
        let error = server.client().get("meta-data/instance-id").await.unwrap_err();
        assert_eq!(error.to_string(), "IMDS answered 403 Forbidden to api/token");
    }
}
