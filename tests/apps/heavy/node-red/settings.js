// Node-RED that believes whoever stands in `Remote-User`: alice may do everything, others read.
module.exports = {
  uiHost: "127.0.0.1",
  uiPort: Number(process.env.PORT),
  userDir: process.env.HOME,
  telemetry: { enabled: false, updateNotification: false },
  adminAuth: {
    type: "credentials",
    tokenHeader: "remote-user",
    users: async (username) => ({ username, permissions: "*" }),
    authenticate: async () => null,
    tokens: async (name) =>
      name ? { username: name, permissions: name === "alice" ? "*" : "read" } : null,
  },
};
