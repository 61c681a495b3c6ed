"""One request: asked, sent, waited for; its replies, and those of earlier ones."""
