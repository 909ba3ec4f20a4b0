export const list = () =>
// The document, unchanged, but for its import, which has to stand outside of a function.
<OnlineUsersList className="w-64" />

import { OnlineUsersList } from './ReactComponents';
