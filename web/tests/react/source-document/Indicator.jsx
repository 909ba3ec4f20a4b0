export const indicator = () =>
// The document, unchanged, but for its import, which has to stand outside of a function.
<UserStatusIndicator 
  userId="user123" 
  size="md" 
  showText={true} 
/>

import { UserStatusIndicator } from './ReactComponents';
