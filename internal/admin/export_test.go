package admin

// NewHandler answers without a port.
var NewHandler = newHandler
