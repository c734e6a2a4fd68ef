"""Language models that run elsewhere: a server that speaks OpenAI's API is asked over HTTP."""
