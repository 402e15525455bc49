(module
  (import "env" "f" (func $f))
  (tag $e (param i32))
  (func (result i32)
    (block $caught (result i32)
      (try_table (catch $e $caught) (call $f))
      (i32.const 0))))

;; Expected:
;; function 1
;; function u0:0(i64 vmctx) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i64) -> i64 tail
;;     sig1 = (i64 vmctx) tail
;;     fn0 = colocated u0:17 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64):
;;                                     v11 = load.i64 notrap aligned readonly can_move v0+64
;;                                     v10 = load.i64 notrap aligned readonly can_move v0+56
;;                                     v4 = load.i64 notrap aligned readonly can_move v0+32
;; @0031                               jump block4
;;
;;                                 block3(v3: i64):
;; @0031                               v5 = load.i64 notrap aligned readonly v3
;; @0031                               v6 = icmp eq v5, v4
;; @0031                               brif v6, block5, block6
;;
;;                                 block5:
;; @0031                               v7 = load.i64 notrap aligned readonly v3+8
;; @0031                               v8 = load.i32 notrap aligned readonly v7
;; @0031                               jump block2(v8)
;;
;;                                 block6:
;; @0031                               v9 = call fn0(v0, v3)
;; @0031                               trap user1
;;
;;                                 block4:
;; @0037                               try_call_indirect.i64 v10(v11), sig1, block8, [ default: block3(exn0) ]
;;
;;                                 block8:
;; @0039                               jump block7
;;
;;                                 block7:
;; @003a                               v12 = iconst.i32 0
;; @003c                               jump block2(v12)  ; v12 = 0
;;
;;                                 block2(v2: i32):
;; @003d                               return v2
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq 8(%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x50, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;;   subq $0x40, %rsp
;;   movq %rbx, 0x10(%rsp)
;;   movq %r12, 0x18(%rsp)
;;   movq %r13, 0x20(%rsp)
;;   movq %r14, 0x28(%rsp)
;;   movq %r15, 0x30(%rsp)
;; block0:
;;   jmp     label1
;; block1:
;;   movq 0x38(%rdi), %rax
;;   movq %rdi, %rcx
;;   movq 0x40(%rcx), %rdi
;;   movq %rcx, <offset:1>+(%rsp)
;;   call    *%rax; jmp MachLabel(2); catch [default: MachLabel(4)]
;; block2:
;;   jmp     label3
;; block3:
;;   uninit  %rax
;;   xorl %eax, %eax
;;   jmp     label7
;; block4:
;;   movq %rax, %rsi
;;   movq (%rsi), %rax
;;   movq <offset:1>+(%rsp), %rdi
;;   movq 0x20(%rdi), %rcx
;;   cmpq %rcx, %rax
;;   jz      label6; j label5
;; block6:
;;   movq 8(%rsi), %rax
;;   movl (%rax), %eax
;;   jmp     label7
;; block7:
;;   movq 0x10(%rsp), %rbx
;;   movq 0x18(%rsp), %r12
;;   movq 0x20(%rsp), %r13
;;   movq 0x28(%rsp), %r14
;;   movq 0x30(%rsp), %r15
;;   addq $0x40, %rsp
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block5:
;;   call    User(userextname0)
;;   ud2
