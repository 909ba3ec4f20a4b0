export const app = () =>
// The document, unchanged, but for its import, which has to stand outside of a function.
// This includes everything: socket provider, online users, chat room
<ChatApp />

import { ChatApp } from './ReactComponents';
